package server_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/gossip"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/persistent"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/serverfeatures"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"example.com/life/adapters/embedded/server"
)

// secured is a server with TLS and users: admin, ops and someone, whose passwords are "password".
type secured struct {
	world
	certificates string
}

func secure(t testing.TB, configure ...func(*server.Config)) secured {
	t.Helper()
	dir, files := certificates(t)
	config, err := server.LoadTLS(files)
	if err != nil {
		t.Fatal(err)
	}
	w := serve(t, func(c *server.Config) {
		c.Insecure, c.TLS = false, config
		c.Users = server.UsersConfig{AdminPassword: "password", OpsPassword: "password", Memory: 64}
		for _, change := range configure {
			change(c)
		}
		if err := server.NewUsers(c.Store).Add(t.Context(), server.User{Name: "someone"}, "password"); err != nil {
			t.Fatal(err)
		}
	})
	return secured{world: w, certificates: dir}
}

// as is the official client with these credentials ("name:password@", or empty), and options of the connection string.
func (s secured) as(t testing.TB, credentials, options string) *esdb.Client {
	t.Helper()
	config, err := esdb.ParseConnectionString("esdb://" + credentials + s.server.Addr() + "?tlsCAFile=" + filepath.Join(s.certificates, "ca.crt") + options)
	if err != nil {
		t.Fatal(err)
	}
	config.Logger = esdb.NoopLogging()
	client, err := esdb.NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := client.Close(); err != nil {
			t.Errorf("close the client: %v", err)
		}
	})
	return client
}

// wantStatus looks for the status below what the client makes of it.
func wantStatus(t testing.TB, err error, want codes.Code) {
	t.Helper()
	if got := status.Code(err); got != want {
		t.Errorf("got %s (%v), want %s", got, err, want)
	}
}

// TestConnectionsWithoutCredentials: more of them than there are places, each of which greets and then says nothing, shut out neither who has
// credentials nor who called before; they are closed to make room.
func TestConnectionsWithoutCredentials(t *testing.T) {
	s := secure(t, func(c *server.Config) { c.Connections = 16 })
	before := s.as(t, "someone:password@", "")
	appendTo(t, before, "orders", eventsOf(1)...)
	ca, err := os.ReadFile(filepath.Join(s.certificates, "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	ended := make(chan error, 40)
	for range cap(ended) {
		conn, err := tls.Dial("tcp", s.server.Addr(), &tls.Config{RootCAs: roots, NextProtos: []string{"h2"}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() }) // most are closed by the server
		if _, err := io.WriteString(conn, http2.ClientPreface+"\x00\x00\x00\x04\x00\x00\x00\x00\x00"); err != nil {
			t.Fatal(err)
		}
		go func() {
			_, err := io.Copy(io.Discard, conn)
			ended <- err
		}()
	}
	for range cap(ended) - 4 { // all but those that have the places of callers without credentials
		<-ended
	}
	for range 3 {
		appendTo(t, s.as(t, "admin:password@", ""), "orders", eventsOf(1)...)
	}
	appendTo(t, before, "orders", eventsOf(1)...)
}

func TestSecureClients(t *testing.T) {
	s := secure(t)
	admin, someone, anonymous := s.as(t, "admin:password@", ""), s.as(t, "someone:password@", ""), s.as(t, "", "")
	appendTo(t, someone, "orders", eventsOf(2)...)
	for name, client := range map[string]*esdb.Client{"admin": admin, "someone": someone} {
		if read, err := readStream(t, client, "orders", esdb.ReadStreamOptions{}, 10); err != nil || len(read) != 2 {
			t.Errorf("%s reads %d events: %v", name, len(read), err)
		}
	}
	if _, err := readAll(t, admin, esdb.ReadAllOptions{}, 10); err != nil {
		t.Errorf("admin reads everything: %v", err)
	}
	_, err := readAll(t, someone, esdb.ReadAllOptions{}, 10)
	wantStatus(t, err, codes.PermissionDenied)
	_, err = readStream(t, someone, "$users", esdb.ReadStreamOptions{}, 10)
	wantStatus(t, err, codes.PermissionDenied)
	_, err = someone.AppendToStream(within(t), "$settings", esdb.AppendToStreamOptions{}, eventsOf(1)...)
	wantStatus(t, err, codes.PermissionDenied)
	_, err = someone.AppendToStream(within(t), "$user-someone", esdb.AppendToStreamOptions{}, eventsOf(1)...)
	wantStatus(t, err, codes.PermissionDenied)
	_, err = admin.DeleteStream(within(t), "$$orders", esdb.DeleteStreamOptions{})
	wantStatus(t, err, codes.PermissionDenied)

	_, err = readStream(t, anonymous, "orders", esdb.ReadStreamOptions{}, 10)
	wantStatus(t, err, codes.PermissionDenied)
	_, err = anonymous.AppendToStream(within(t), "orders", esdb.AppendToStreamOptions{}, eventsOf(1)...)
	wantStatus(t, err, codes.PermissionDenied)
	_, err = anonymous.DeleteStream(within(t), "orders", esdb.DeleteStreamOptions{})
	wantStatus(t, err, codes.PermissionDenied)

	wrong := &esdb.Credentials{Login: "admin", Password: "wrong"}
	_, err = readStream(t, admin, "orders", esdb.ReadStreamOptions{Authenticated: wrong}, 10)
	wantStatus(t, err, codes.Unauthenticated)
	_, err = admin.AppendToStream(within(t), "orders", esdb.AppendToStreamOptions{Authenticated: wrong}, eventsOf(1)...)
	wantStatus(t, err, codes.Unauthenticated)
	right := &esdb.Credentials{Login: "someone", Password: "password"}
	if _, err = readStream(t, anonymous, "orders", esdb.ReadStreamOptions{Authenticated: right}, 10); err != nil {
		t.Errorf("credentials of one call: %v", err)
	}
}

func TestConsumerGroupsAreForOperators(t *testing.T) {
	s := secure(t)
	for name, may := range map[string]bool{"admin:password@": true, "ops:password@": true, "someone:password@": false, "": false} {
		client := s.as(t, name, "")
		group := "group " + name
		err := client.CreatePersistentSubscription(within(t), "orders", group, esdb.PersistentStreamSubscriptionOptions{})
		if may && err != nil {
			t.Errorf("%q makes a group: %v", name, err)
		}
		if !may {
			wantStatus(t, err, codes.PermissionDenied)
			wantStatus(t, client.DeletePersistentSubscription(within(t), "orders", group, esdb.DeletePersistentSubscriptionOptions{}), codes.PermissionDenied)
		}
	}
}

func TestUserCertificates(t *testing.T) {
	s := secure(t)
	of := func(name string) string {
		path := filepath.Join(s.certificates, "user-"+name)
		return "&userCertFile=" + path + ".crt&userKeyFile=" + path + ".key"
	}
	someone := s.as(t, "", of("someone"))
	appendTo(t, someone, "orders", eventsOf(1)...)
	_, err := readAll(t, someone, esdb.ReadAllOptions{}, 10)
	wantStatus(t, err, codes.PermissionDenied)
	if _, err := readAll(t, s.as(t, "admin:password@", of("someone")), esdb.ReadAllOptions{}, 10); err != nil {
		t.Errorf("a password goes before a certificate: %v", err)
	}
	_, err = readStream(t, s.as(t, "", of("nobody")), "orders", esdb.ReadStreamOptions{}, 10)
	wantStatus(t, err, codes.Unauthenticated)
}

// TestStrangeCertificates: a certificate of another issuer counts for nothing, and does not keep a user with a password out.
func TestStrangeCertificates(t *testing.T) {
	s := secure(t)
	elsewhere, _ := certificates(t)
	pair, err := tls.LoadX509KeyPair(filepath.Join(elsewhere, "user-someone.crt"), filepath.Join(elsewhere, "user-someone.key"))
	if err != nil {
		t.Fatal(err)
	}
	config := trusting(t, s.certificates)
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil } // whatever the server asks for
	conn := s.world.dial(t, grpc.WithTransportCredentials(credentials.NewTLS(config)))
	remove := func(ctx context.Context) error {
		_, err := streams.NewStreamsClient(conn).Delete(ctx, &streams.DeleteReq{Options: &streams.DeleteReq_Options{
			StreamIdentifier: &shared.StreamIdentifier{StreamName: []byte("orders")}, ExpectedStreamRevision: &streams.DeleteReq_Options_Any{Any: &shared.Empty{}},
		}})
		return err
	}
	appendTo(t, s.as(t, "admin:password@", ""), "orders", eventsOf(1)...)
	wantStatus(t, remove(within(t)), codes.PermissionDenied)
	wantStatus(t, remove(login(within(t), "someone", "wrong")), codes.Unauthenticated)
	wantStatus(t, remove(login(within(t), "someone", "password")), codes.OK)
}

// TestSubscriptionsEndWithTheRight takes the right to read from a subscriber.
func TestSubscriptionsEndWithTheRight(t *testing.T) {
	s := secure(t)
	admin, someone := s.as(t, "admin:password@", ""), s.as(t, "someone:password@", "")
	feed, err := someone.SubscribeToStream(within(t), "orders", esdb.SubscribeToStreamOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer feed.Close()
	appendTo(t, admin, "orders", eventsOf(1)...)
	for feed.Recv().EventAppeared == nil {
		continue
	}
	acl := esdb.Acl{}
	acl.AddReadRoles("$admins")
	meta := esdb.StreamMetadata{}
	meta.SetAcl(acl)
	if _, err := admin.SetStreamMetadata(within(t), "orders", esdb.AppendToStreamOptions{}, meta); err != nil {
		t.Fatal(err)
	}
	appendTo(t, admin, "orders", eventsOf(1)...) // the subscriber has lost it by now
	for {
		e := feed.Recv()
		if e.EventAppeared != nil {
			t.Fatal("what was appended after that is delivered")
		}
		if e.SubscriptionDropped != nil {
			wantStatus(t, e.SubscriptionDropped.Error, codes.PermissionDenied)
			break
		}
	}
	_, err = someone.SubscribeToStream(within(t), "orders", esdb.SubscribeToStreamOptions{})
	wantStatus(t, err, codes.PermissionDenied)
}

// TestLinksGrantNothing has a user link to a stream that only administrators may read.
func TestLinksGrantNothing(t *testing.T) {
	s := secure(t)
	someone := s.as(t, "someone:password@", "")
	link := event("$>", "")
	link.ContentType, link.Data = esdb.ContentTypeBinary, []byte("0@$user-admin")
	appendTo(t, someone, "links", link)
	settings := esdb.SubscriptionSettingsDefault()
	settings.ResolveLinkTos = true
	options := esdb.PersistentStreamSubscriptionOptions{StartFrom: esdb.Start{}, Settings: &settings}
	if err := s.as(t, "ops:password@", "").CreatePersistentSubscription(within(t), "links", "group", options); err != nil {
		t.Fatal(err)
	}
	feed, err := someone.SubscribeToPersistentSubscription(within(t), "links", "group", esdb.SubscribeToPersistentSubscriptionOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer feed.Close()
	if e := feed.Recv(); e.EventAppeared == nil || e.EventAppeared.Event.Event != nil || e.EventAppeared.Event.Link == nil {
		t.Errorf("the consumer of a group is given %+v", e)
	}
	read, err := readStream(t, someone, "links", esdb.ReadStreamOptions{ResolveLinkTos: true}, 10)
	if err != nil || len(read) != 1 || read[0].Event != nil {
		t.Errorf("read %+v: %v", read, err)
	}
}

// TestDenialOnTheWire is what clients of other languages rely on: status, words and trailer. Server features and gossip answer anyone.
func TestDenialOnTheWire(t *testing.T) {
	s := secure(t)
	conn := s.dial(t)
	if _, err := gossip.NewGossipClient(conn).Read(within(t), &shared.Empty{}); err != nil {
		t.Errorf("gossip: %v", err)
	}
	if _, err := serverfeatures.NewServerFeaturesClient(conn).GetSupportedMethods(within(t), &shared.Empty{}); err != nil {
		t.Errorf("server features: %v", err)
	}
	id := &shared.StreamIdentifier{StreamName: []byte("orders")}
	for name, call := range map[string]func(ctx context.Context, trailer *metadata.MD) error{
		"append": func(ctx context.Context, trailer *metadata.MD) error {
			call, err := streams.NewStreamsClient(conn).Append(ctx, grpc.Trailer(trailer))
			if err != nil {
				return err
			}
			err = call.Send(&streams.AppendReq{Content: &streams.AppendReq_Options_{Options: &streams.AppendReq_Options{
				StreamIdentifier: id, ExpectedStreamRevision: &streams.AppendReq_Options_Any{Any: &shared.Empty{}},
			}}})
			if err != nil && !errors.Is(err, io.EOF) {
				return err
			}
			_, err = call.CloseAndRecv()
			return err
		},
		"delete": func(ctx context.Context, trailer *metadata.MD) error {
			_, err := streams.NewStreamsClient(conn).Delete(ctx, &streams.DeleteReq{Options: &streams.DeleteReq_Options{
				StreamIdentifier: id, ExpectedStreamRevision: &streams.DeleteReq_Options_Any{Any: &shared.Empty{}},
			}}, grpc.Trailer(trailer))
			return err
		},
		"groups": func(ctx context.Context, trailer *metadata.MD) error {
			_, err := persistent.NewPersistentSubscriptionsClient(conn).RestartSubsystem(ctx, &shared.Empty{}, grpc.Trailer(trailer))
			return err
		},
	} {
		var trailer metadata.MD
		err := call(within(t), &trailer)
		if status.Code(err) != codes.PermissionDenied || status.Convert(err).Message() != "Access Denied" || fmt.Sprint(trailer.Get("exception")) != "[access-denied]" {
			t.Errorf("%s without credentials: %v, trailer %v", name, err, trailer)
		}
		bad := metadata.AppendToOutgoingContext(within(t), "authorization", "Basic bm9ib2R5Ong=")
		if err := call(bad, &trailer); status.Code(err) != codes.Unauthenticated {
			t.Errorf("%s with bad credentials: %v", name, err)
		}
	}
	if _, err := gossip.NewGossipClient(conn).Read(metadata.AppendToOutgoingContext(within(t), "authorization", "Basic x"), &shared.Empty{}); status.Code(err) != codes.Unauthenticated {
		t.Errorf("gossip with bad credentials: %v", err)
	}
}

// dial is a bare connection, which sends no credentials.
func (s secured) dial(t testing.TB) *grpc.ClientConn {
	t.Helper()
	return s.world.dial(t, grpc.WithTransportCredentials(credentials.NewTLS(trusting(t, s.certificates))))
}

// unwelcome is calls with wrong credentials and with none, by how they end.
func unwelcome(t testing.TB) map[string]context.Context {
	t.Helper()
	return map[string]context.Context{
		codes.Unauthenticated.String():  metadata.AppendToOutgoingContext(within(t), "authorization", "Basic bm9ib2R5Ong="),
		codes.PermissionDenied.String(): within(t),
	}
}

// TestStrangersAreNotRead: a request of one message is not read before it is known who calls. Here none is sent.
func TestStrangersAreNotRead(t *testing.T) {
	conn := secure(t).dial(t)
	for want, ctx := range unwelcome(t) {
		for _, method := range []string{
			streams.Streams_Delete_FullMethodName, streams.Streams_Tombstone_FullMethodName, persistent.PersistentSubscriptions_Create_FullMethodName,
			persistent.PersistentSubscriptions_List_FullMethodName, persistent.PersistentSubscriptions_RestartSubsystem_FullMethodName,
		} {
			call, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method)
			if err != nil {
				t.Fatal(err)
			}
			if err := call.RecvMsg(&shared.Empty{}); status.Code(err).String() != want {
				t.Errorf("%s: %v, want %s", method, err, want)
			}
		}
	}
}

// TestFirstMessageBeforeRefusal: a call of many messages is refused after its first, since clients whose call ends while they send report
// only that.
func TestFirstMessageBeforeRefusal(t *testing.T) {
	conn := secure(t).dial(t)
	for want, ctx := range unwelcome(t) {
		call, err := persistent.NewPersistentSubscriptionsClient(conn).Read(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for range 20 { // more than enough for a refusal to overtake
			if _, err := gossip.NewGossipClient(conn).Read(within(t), &shared.Empty{}); err != nil {
				t.Fatal(err)
			}
		}
		if err := call.Send(&persistent.ReadReq{Content: &persistent.ReadReq_Options_{Options: &persistent.ReadReq_Options{
			StreamOption: &persistent.ReadReq_Options_StreamIdentifier{StreamIdentifier: &shared.StreamIdentifier{StreamName: []byte("orders")}},
			GroupName:    "group", BufferSize: 10,
		}}}); err != nil {
			t.Errorf("%s: the first message: %v", want, err)
		}
		if _, err := call.Recv(); status.Code(err).String() != want {
			t.Errorf("the consumer was answered %v, want %s", err, want)
		}
	}
}

// TestRightsAtTheEnd opens an append, takes the right away, and then sends the event.
func TestRightsAtTheEnd(t *testing.T) {
	s := secure(t)
	conn := s.dial(t)
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("someone:password"))
	call, err := streams.NewStreamsClient(conn).Append(metadata.AppendToOutgoingContext(within(t), "authorization", basic))
	if err != nil {
		t.Fatal(err)
	}
	if err := call.Send(to("orders")); err != nil {
		t.Fatal(err)
	}
	acl := esdb.Acl{}
	acl.AddWriteRoles("$admins")
	meta := esdb.StreamMetadata{}
	meta.SetAcl(acl)
	if _, err := s.as(t, "admin:password@", "").SetStreamMetadata(within(t), "orders", esdb.AppendToStreamOptions{}, meta); err != nil {
		t.Fatal(err)
	}
	if err := call.Send(proposedEvent(as)); err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	_, err = call.CloseAndRecv()
	wantStatus(t, err, codes.PermissionDenied)
}
