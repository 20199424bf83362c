package server_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.com/life/adapters/embedded/server"
)

// certificates makes some for this machine, with one to log in with for the user someone.
func certificates(t testing.TB) (dir string, files server.TLSFiles) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "certificates")
	c := server.DevelopmentCertificates{Dir: dir, Hosts: []string{"127.0.0.1", "localhost"}, Users: []string{"someone", "nobody"}, Lifetime: time.Hour}
	if err := c.Write(); err != nil {
		t.Fatal(err)
	}
	return dir, server.TLSFiles{
		Certificate: filepath.Join(dir, "server.crt"), Key: filepath.Join(dir, "server.key"), ClientCA: filepath.Join(dir, "ca.crt"),
	}
}

// greet makes a handshake with a server and returns the certificate that it shows.
func greet(t testing.TB, w world, client *tls.Config) (*x509.Certificate, error) {
	t.Helper()
	conn, err := (&tls.Dialer{Config: client}).DialContext(within(t), "tcp", w.server.Addr())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	secure, ok := conn.(*tls.Conn)
	if !ok {
		t.Fatalf("the connection is %T", conn)
	}
	return secure.ConnectionState().PeerCertificates[0], nil
}

// serveWith is a server with these files.
func serveWith(t testing.TB, files server.TLSFiles) world {
	t.Helper()
	config, err := server.LoadTLS(files)
	if err != nil {
		t.Fatal(err)
	}
	return serve(t, func(c *server.Config) { c.TLS = config })
}

func trusting(t testing.TB, dir string) *tls.Config {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	return &tls.Config{RootCAs: roots, ServerName: "localhost"}
}

// replace puts a file in place of another, as whoever renews certificates does.
func replace(t testing.TB, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

func TestCertificatesAreReadAgain(t *testing.T) {
	dir, files := certificates(t)
	config := serveWith(t, files)
	first, err := greet(t, config, trusting(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	renewed, _ := certificates(t)
	replace(t, filepath.Join(renewed, "server.crt"), files.Certificate)
	if got, err := greet(t, config, trusting(t, dir)); err != nil || !got.Equal(first) {
		t.Errorf("with half of the new files the old ones serve on: %v", err)
	}
	replace(t, filepath.Join(renewed, "server.key"), files.Key)
	got, err := greet(t, config, trusting(t, renewed))
	if err != nil || got.Equal(first) {
		t.Errorf("the new files are not used: %v", err)
	}
	if err := os.Remove(files.Key); err != nil {
		t.Fatal(err)
	}
	if again, err := greet(t, config, trusting(t, renewed)); err != nil || !again.Equal(got) {
		t.Errorf("without its files the certificate serves on: %v", err)
	}
}

// TestCloseWhileConnectionsOpen closes a server whose clients have shaken hands and sent nothing.
func TestCloseWhileConnectionsOpen(t *testing.T) {
	dir, files := certificates(t)
	w := serveWith(t, files)
	var clients []*tls.Conn
	for range 4 {
		client, err := tls.Dial("tcp", w.server.Addr(), trusting(t, dir))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = client.Close() }()
		clients = append(clients, client)
	}
	w.server.Close(t.Context())
	for _, client := range clients {
		if n, err := client.Read(make([]byte, 1)); err == nil {
			t.Errorf("%d bytes came from a closed server", n)
		}
	}
}

func TestTLSRefusals(t *testing.T) {
	dir, files := certificates(t)
	w := serveWith(t, files)
	old := trusting(t, dir)
	old.MaxVersion = tls.VersionTLS11 //nolint:gosec // to be refused
	if _, err := greet(t, w, old); err == nil {
		t.Error("TLS 1.1 is accepted")
	}
	_, strangers := certificates(t)
	for name, files := range map[string]server.TLSFiles{
		"nothing":               {},
		"another's key":         {Certificate: files.Certificate, Key: strangers.Key},
		"no issuers":            {Certificate: files.Certificate, Key: files.Key, ClientCA: files.Key},
		"issuers not there":     {Certificate: files.Certificate, Key: files.Key, ClientCA: filepath.Join(dir, "none")},
		"a certificate as both": {Certificate: files.Certificate, Key: files.Certificate},
	} {
		if _, err := server.LoadTLS(files); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestDevelopmentCertificates(t *testing.T) {
	dir, _ := certificates(t)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(entry.Name(), ".key") && info.Mode().Perm() != 0o600 {
			t.Errorf("%s can be read by others: %s", entry.Name(), info.Mode())
		}
		if kind := map[bool]string{true: "*rsa.PrivateKey", false: "*ecdsa.PrivateKey"}[strings.HasPrefix(entry.Name(), "user-")]; strings.HasSuffix(entry.Name(), ".key") {
			pair, err := tls.LoadX509KeyPair(filepath.Join(dir, strings.TrimSuffix(entry.Name(), ".key")+".crt"), filepath.Join(dir, entry.Name()))
			if got := fmt.Sprintf("%T", pair.PrivateKey); err != nil || got != kind { // EventStoreDB's client for .NET reads no others of users
				t.Errorf("%s holds a %s: %v", entry.Name(), got, err)
			}
		}
		if entry.Name() == "ca.key" {
			t.Error("the issuer's key was kept")
		}
	}
	if len(entries) != 7 {
		t.Errorf("there are %v", entries)
	}
	for name, c := range map[string]server.DevelopmentCertificates{
		"over others":  {Dir: dir, Hosts: []string{"localhost"}, Lifetime: time.Hour},
		"without host": {Dir: t.TempDir(), Lifetime: time.Hour},
		"with a path":  {Dir: t.TempDir(), Hosts: []string{"localhost"}, Users: []string{"../x"}, Lifetime: time.Hour},
	} {
		if err := c.Write(); err == nil {
			t.Errorf("%s: made", name)
		}
	}
}
