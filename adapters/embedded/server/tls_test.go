package server_test

import (
	"crypto/tls"
	"crypto/x509"
	"net"
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

// greet makes a handshake with a configuration's server and returns the certificate that it shows.
func greet(t testing.TB, config *tls.Config, client *tls.Config) (*x509.Certificate, error) {
	t.Helper()
	ours, theirs := net.Pipe()
	defer ours.Close()
	defer theirs.Close()
	served := make(chan error, 1)
	go func() { served <- tls.Server(theirs, config).HandshakeContext(t.Context()) }()
	conn := tls.Client(ours, client)
	err := conn.HandshakeContext(t.Context())
	ours.Close()
	if other := <-served; err == nil {
		err = other
	}
	if err != nil {
		return nil, err
	}
	return conn.ConnectionState().PeerCertificates[0], nil
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
	config, err := server.LoadTLS(files)
	if err != nil {
		t.Fatal(err)
	}
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

func TestTLSRefusals(t *testing.T) {
	dir, files := certificates(t)
	config, err := server.LoadTLS(files)
	if err != nil {
		t.Fatal(err)
	}
	old := trusting(t, dir)
	old.MaxVersion = tls.VersionTLS11 //nolint:gosec // to be refused
	if _, err := greet(t, config, old); err == nil {
		t.Error("TLS 1.1 is accepted")
	}
	other, strangers := certificates(t)
	foreign := trusting(t, dir)
	pair, err := tls.LoadX509KeyPair(filepath.Join(other, "user-someone.crt"), filepath.Join(other, "user-someone.key"))
	if err != nil {
		t.Fatal(err)
	}
	foreign.Certificates = []tls.Certificate{pair}
	foreign.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	if _, err := greet(t, config, foreign); err == nil {
		t.Error("a user's certificate of another issuer is accepted")
	}
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
