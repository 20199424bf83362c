package server_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/google/uuid"
	"go.uber.org/goleak"

	"example.com/life/adapters/embedded"
	"example.com/life/adapters/embedded/server"
)

// The client drops a connection that failed without closing it; what is left of it does nothing and is no server's.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("google.golang.org/grpc/internal/grpcsync.(*CallbackSerializer).run"),
		goleak.IgnoreAnyFunction("github.com/dlclark/regexp2/v2.runClock")) // goes on for a second after the last expression
}

// world is a server over a store of its own.
type world struct {
	store  *embedded.Store
	server *server.Server
}

// serve starts a server; configure may change how.
func serve(t testing.TB, configure ...func(*server.Config)) world {
	t.Helper()
	store, err := embedded.Open(embedded.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	config := server.Config{Store: store, Listen: "127.0.0.1:0", Insecure: true}
	for _, change := range configure {
		change(&config)
	}
	s, err := server.New(config)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(context.Background()) }()
	t.Cleanup(func() {
		s.Close(context.Background())
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
		if err := store.Close(); err != nil {
			t.Errorf("close the store: %v", err)
		}
	})
	return world{store: store, server: s}
}

// client is the official client, connected to the server.
func (w world) client(t testing.TB) *esdb.Client {
	t.Helper()
	config, err := esdb.ParseConnectionString("esdb://" + w.server.Addr() + "?tls=false")
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

func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func event(kind, data string) esdb.EventData {
	return esdb.EventData{EventID: uuid.New(), EventType: kind, ContentType: esdb.ContentTypeJson, Data: []byte(data)}
}

func eventsOf(n int) []esdb.EventData {
	batch := make([]esdb.EventData, n)
	for i := range batch {
		batch[i] = event("tested", fmt.Sprintf(`{"n":%d}`, i))
	}
	return batch
}

func appendTo(t testing.TB, client *esdb.Client, stream string, batch ...esdb.EventData) *esdb.WriteResult {
	t.Helper()
	result, err := client.AppendToStream(within(t), stream, esdb.AppendToStreamOptions{}, batch...)
	if err != nil {
		t.Fatalf("append to %s: %v", stream, err)
	}
	return result
}

func readStream(t testing.TB, client *esdb.Client, stream string, options esdb.ReadStreamOptions, count uint64) ([]*esdb.ResolvedEvent, error) {
	t.Helper()
	feed, err := client.ReadStream(within(t), stream, options, count)
	if err != nil {
		return nil, err
	}
	defer feed.Close()
	return drain(feed)
}

func readAll(t testing.TB, client *esdb.Client, options esdb.ReadAllOptions, count uint64) ([]*esdb.ResolvedEvent, error) {
	t.Helper()
	feed, err := client.ReadAll(within(t), options, count)
	if err != nil {
		return nil, err
	}
	defer feed.Close()
	return drain(feed)
}

func drain(feed *esdb.ReadStream) (read []*esdb.ResolvedEvent, err error) {
	for {
		e, err := feed.Recv()
		if errors.Is(err, io.EOF) {
			return read, nil
		}
		if err != nil {
			return read, err
		}
		read = append(read, e)
	}
}

func TestAppendAndRead(t *testing.T) {
	client := serve(t).client(t)
	batch := eventsOf(3)
	batch[1].Metadata = []byte(`{"by":"someone"}`)
	batch[2].ContentType, batch[2].Data = esdb.ContentTypeBinary, []byte{0, 0xff, 1}
	result := appendTo(t, client, "s-1", batch...)
	if result.NextExpectedVersion != 2 || result.CommitPosition == 0 || result.CommitPosition != result.PreparePosition {
		t.Errorf("the append was answered %+v", result)
	}
	read, err := readStream(t, client, "s-1", esdb.ReadStreamOptions{}, 10)
	if err != nil || len(read) != 3 {
		t.Fatalf("read %d events: %v", len(read), err)
	}
	for i, got := range read {
		e, want := got.OriginalEvent(), batch[i]
		if e.EventID != want.EventID || e.EventNumber != uint64(i) || e.StreamID != "s-1" || e.EventType != want.EventType ||
			string(e.Data) != string(want.Data) || string(e.UserMetadata) != string(want.Metadata) {
			t.Errorf("event %d is %+v", i, e)
		}
		if age := time.Since(e.CreatedDate); age < -time.Minute || age > time.Minute {
			t.Errorf("event %d was created %s", i, e.CreatedDate)
		}
	}
	if last := read[2].OriginalEvent(); last.Position.Commit != result.CommitPosition || last.ContentType != "application/octet-stream" {
		t.Errorf("the last event is %+v", last)
	}
}
