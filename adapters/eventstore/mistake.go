package eventstore

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"example.com/life/events"
)

// AddressError is an error that waiting does not cure: something has to be changed, in the connection string or at the store.
type AddressError struct {
	Problem string // what is wrong, where
	Remedy  string // what to change
	Err     error  // what the store, or the way to it, said
}

// Error says what is wrong and what to change.
func (m *AddressError) Error() string { return m.Problem + ": " + m.Remedy }

// Unwrap returns what was said.
func (m *AddressError) Unwrap() error { return m.Err }

// Denied reports an error that waiting does not cure: an *AddressError.
func Denied(err error) bool {
	var m *AddressError
	return errors.As(err, &m)
}

// ErrProtocol matches the errors about servers that answer, and not as EventStoreDB does.
var ErrProtocol = errors.New("the server does not answer as EventStoreDB does")

// Why a store is away, for [Away.Remedy]. They stand behind words of their own.
var (
	errRefused  = errors.New("nothing listens there")
	errDeaf     = errors.New("nothing was answered")
	errNoLeader = errors.New("there is no leader")
	errMisnamed = errors.New("the leader's address, which a node gave, is of no use here")
)

// handshakes makes connections secure, and remembers why the last one could not be.
type handshakes struct {
	credentials.TransportCredentials

	mu   sync.Mutex
	last error
}

// ClientHandshake implements credentials.TransportCredentials.
func (h *handshakes) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := h.TransportCredentials.ClientHandshake(ctx, authority, raw)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last = err
	return conn, info, err
}

func (h *handshakes) failure() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.last
}

// brokenOff are the words about connections that were made and ended at once.
var brokenOff = regexp.MustCompile(`server preface|broken pipe|connection reset|EOF`)

// diagnosis is how long may be tried to find out why a server cannot be reached.
const diagnosis = time.Second

// explain finds out why a server did not answer: whether it is a mistake, and otherwise in which words to say it.
func (t *target) explain(ctx context.Context, conn *connection, to endpoint, f *failure) error {
	ctx, cancel := context.WithTimeout(ctx, diagnosis)
	defer cancel()
	host, _ := split(to.address)
	switch {
	case f.code == codes.Unauthenticated:
		return t.unauthenticated(to.address, f)
	case f.code == codes.Unimplemented:
		return &AddressError{
			Problem: "the server at " + to.address + " is not EventStoreDB (" + f.message + ")",
			Remedy:  "correct the host and the port", Err: fmt.Errorf("%w: %w", ErrProtocol, f),
		}
	case f.code == codes.DeadlineExceeded, strings.Contains(f.message, net.ErrClosed.Error()): // gRPC's own time to connect is over
		return fmt.Errorf("no answer within %s%w%w", t.probe, silent{f}, silent{errDeaf})
	case f.code != codes.Unavailable:
		return f
	}
	if err := conn.handshakes.failure(); err != nil {
		return t.explainTLS(ctx, to, err)
	}
	if _, err := net.DefaultResolver.LookupHost(ctx, host); err != nil && to.ip == "" && strings.Contains(f.message, "resolver") {
		return fmt.Errorf("the name %s cannot be resolved%w", host, silent{err})
	}
	broken := brokenOff.MatchString(f.message)
	if broken && !t.secure && encrypted(ctx, to) {
		return &AddressError{
			Problem: "the server at " + to.address + " wants encrypted connections, and tls=false asks for one that is not",
			Remedy:  "leave out tls=false", Err: f,
		}
	}
	switch {
	case strings.Contains(f.message, "server preface: http2"):
		return fmt.Errorf("%w (%s)", ErrProtocol, f.plain())
	case broken:
		return fmt.Errorf("the server ended the connection before it said anything (%w)", f)
	}
	switch {
	case strings.Contains(f.message, "connection refused"):
		return fmt.Errorf("%w%w", f, silent{errRefused})
	case f.message == notReady:
		return fmt.Errorf("%w%w", f, silent{errNoLeader})
	}
	return f
}

// notReady is what a node says that neither leads nor knows who does.
const notReady = "Server Is Not Ready"

// silent is an error that is there for errors.Is and errors.As, and says nothing.
type silent struct{ error }

func (silent) Error() string   { return "" }
func (s silent) Unwrap() error { return s.error }

// explainTLS says why a connection could not be encrypted, and what to change.
func (t *target) explainTLS(ctx context.Context, to endpoint, err error) error {
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	var alert tls.AlertError
	server := "the server at " + to.address
	switch {
	case errors.As(err, &unknown) && t.caFile != "":
		return &AddressError{server + " has a certificate that no CA in " + t.caFile + " has signed", "name the file of the CA that has (tlsCAFile)", err}
	case errors.As(err, &unknown):
		return &AddressError{server + " has a certificate of a CA that this machine does not know", "name the CA's file with tlsCAFile=FILE", err}
	case errors.As(err, &name):
		return &AddressError{server + " has a certificate for other names (" + trimTLS(err) + ")", "use one of them in the connection string, or give the server a certificate for this one", err}
	case errors.As(err, &invalid):
		return &AddressError{server + " has a certificate that is not valid (" + trimTLS(err) + ")", "renew it, or set this machine's clock", err}
	case errors.As(err, &alert):
		return &AddressError{server + " refuses to talk TLS with this client (" + trimTLS(err) + ")", "check userCertFile and userKeyFile, and the server's TLS settings", err}
	case t.plain(ctx, to):
		return &AddressError{server + " does not encrypt its connections", "add tls=false to the connection string, or give the server a certificate", err}
	}
	var record tls.RecordHeaderError
	if errors.As(err, &record) {
		return fmt.Errorf("%w (%w)", ErrProtocol, err)
	}
	if errors.Is(err, context.DeadlineExceeded) { // it is silent: nothing has ended
		return fmt.Errorf("no answer within %s%w%w", t.probe, silent{err}, silent{errDeaf})
	}
	return fmt.Errorf("the connection ended while it was made secure (%s)%w", around.ReplaceAllString(err.Error(), ""), silent{err})
}

func trimTLS(err error) string {
	text := strings.TrimPrefix(err.Error(), "tls: failed to verify certificate: ")
	return strings.TrimPrefix(text, "x509: ")
}

// encrypted reports a server that speaks TLS.
func encrypted(ctx context.Context, to endpoint) bool {
	dialer := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}}} //nolint:gosec // nothing is sent on it
	conn, err := dialer.DialContext(ctx, "tcp", to.numeric())
	if err != nil {
		return false
	}
	conn.Close() //nolint:errcheck // nothing was sent
	return true
}

// plain reports a server that speaks gRPC without encryption. No credentials are sent to it.
func (t *target) plain(ctx context.Context, to endpoint) bool {
	other := &target{transport: insecure.NewCredentials(), probe: diagnosis, idle: -1}
	conn, err := other.dial(to, callWindow)
	if err != nil {
		return false
	}
	defer conn.Close() //nolint:errcheck // nothing was sent
	conn.Connect()
	for state := conn.GetState(); state != connectivity.Ready; state = conn.GetState() {
		if state == connectivity.TransientFailure || !conn.WaitForStateChange(ctx, state) {
			return false
		}
	}
	return true
}

func (t *target) unauthenticated(address string, f *failure) *AddressError {
	if t.user == "" {
		return &AddressError{"the server at " + address + " wants a user name and password", "give them, on an encrypted connection (without tls=false)", f}
	}
	return &AddressError{fmt.Sprintf("the server at %s does not accept the user name and password (of %q)", address, t.user), "correct one of them", f}
}

// access is what a call wants to do; for everything without a stream.
type access struct {
	right  right
	stream events.Stream
}

type right int

const (
	toRead right = iota
	toWrite
	toDelete
	toJoin   // a consumer group
	toCreate // a consumer group
)

// list is the entry of an access list that gives the right.
func (r right) list() string {
	if r == toWrite {
		return "$w"
	}
	if r == toDelete {
		return "$d"
	}
	return "$r"
}

// denied says who may not do what, and which access list decides that.
func (t *target) denied(to access, f *failure) *AddressError {
	who := fmt.Sprintf("the user %q", t.user)
	switch {
	case t.user == "" && t.userFile != "":
		who = "the user of the certificate " + t.userFile
	case t.user == "":
		who = "a client without a user name and password"
	}
	m := &AddressError{Problem: "the event store denies access to " + who, Err: f}
	switch {
	case t.user == "" && t.userFile == "" && t.secure:
		m.Remedy = "give a user's name and password"
	case !t.secure:
		m.Remedy = "encrypt the connection (leave out tls=false): credentials are sent on no other"
	case to.right == toCreate:
		m.Remedy = "have a user of $ops or $admins create the group, or give this one"
	case to.stream == "":
		m.Remedy = "put the user into the group $admins, or into $r of the access list of $all ($acl in its metadata, the stream $$$all)"
	case strings.HasPrefix(string(to.stream), "$"):
		m.Remedy = fmt.Sprintf("put the user into the group $admins, or into %s of the access list of %s ($acl in its metadata), or of $systemStreamAcl in the stream $settings",
			to.right.list(), to.stream)
	default:
		m.Remedy = fmt.Sprintf("put the user into %s of the access list of %s ($acl in its metadata), or of $userStreamAcl in the stream $settings", to.right.list(), to.stream)
	}
	return m
}
