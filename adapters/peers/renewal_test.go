package peers_test

import (
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"example.com/life/adapters/peers"
)

// shows is the serial number of the certificate with which a host answers.
func shows(t *testing.T, dir, address string) string {
	t.Helper()
	config := credentials(t, dir, "a")
	config.InsecureSkipVerify, config.MinVersion = true, tls.VersionTLS13
	conn, err := (&tls.Dialer{Config: config}).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.(*tls.Conn).ConnectionState().PeerCertificates[0].SerialNumber.String() //nolint:forcetypeassert // the dialer makes no other
}

// replace replaces files by those of another directory, as a person does who renews certificates. However quick the test is, the time of the files changes.
func replace(t *testing.T, from, to string, names ...string) {
	t.Helper()
	for _, name := range names {
		path := filepath.Join(to, name)
		before, err := os.Stat(path)
		later := before.ModTime().Add(time.Second)
		if err = errorsOf(err, copyFile(filepath.Join(from, name), path), os.Chtimes(path, later, later)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRenewed: certificates that are replaced are taken without a restart, the authority's too; those that cannot be used change nothing.
func TestRenewed(t *testing.T) {
	dir, next := certificates(t, "a", "b"), t.TempDir()
	for _, host := range []string{"a", "b"} {
		if _, err := peers.MakeCertificate(next, peers.Wanted{Host: host, Now: time.Now().Add(time.Minute)}); err != nil {
			t.Fatal(err)
		}
	}
	to := server(t, dir, peers.Handlers{Call: echo})
	as := identity(t, dir, "a")
	n := 0
	works := func(when string) {
		t.Helper()
		n++
		c := clientAs(t, as, "a#0") // with a connection of its own
		defer c.Close()
		if answer, err := c.Call(t.Context(), to, with(fmt.Sprint(n))); err != nil || textOf(answer) != fmt.Sprint(n) {
			t.Errorf("%s: %v", when, err)
		}
	}
	works("at first")
	first, until := shows(t, dir, to.Joined.Peer), as.Expires()
	broken := t.TempDir()
	if err := os.WriteFile(filepath.Join(broken, "b.pem"), []byte("half a certif"), 0o600); err != nil {
		t.Fatal(err)
	}
	kept := t.TempDir()
	if err := copyFile(filepath.Join(dir, "b.pem"), filepath.Join(kept, "b.pem")); err != nil {
		t.Fatal(err)
	}
	replace(t, broken, dir, "b.pem")
	works("with a file that is half written")
	replace(t, next, dir, "b.pem", "b-key.pem")
	works("with a certificate that a foreign authority signed")
	if now := shows(t, next, to.Joined.Peer); now != first {
		t.Error("a certificate is shown that the others refuse")
	}
	// The new authority beside the old one, then the certificates of the hosts, one after the other.
	both := filepath.Join(broken, "ca.pem")
	if err := os.WriteFile(both, []byte(read(t, filepath.Join(dir, "ca.pem"))+read(t, filepath.Join(next, "ca.pem"))), 0o600); err != nil {
		t.Fatal(err)
	}
	replace(t, broken, dir, "ca.pem")
	works("with two authorities, and a new certificate of one host")
	if now := shows(t, dir, to.Joined.Peer); now == first {
		t.Error("the new certificate is not shown")
	}
	replace(t, next, dir, "a.pem", "a-key.pem")
	works("with new certificates of both")
	replace(t, next, dir, "ca.pem")
	works("with the new authority alone")
	if now := as.Expires(); now == until {
		t.Errorf("it is valid until %v, as before", now)
	}
	old := certificates(t, "a")
	c := clientAs(t, identity(t, old, "a"), "a#0")
	if _, err := c.Call(t.Context(), to, with("x")); err == nil {
		t.Error("a host of another authority is answered")
	}
}
