package peers_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.com/life/adapters/peers"
)

func TestMakeCertificate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "certificates")
	made, err := peers.MakeCertificate(dir, peers.Wanted{Host: "books-1", Addresses: []string{"10.0.0.7", "books.example"}, Now: time.Now()})
	if err != nil || !made.Authority || len(made.Files) != 4 {
		t.Fatalf("%+v, %v", made, err)
	}
	for _, file := range made.Files {
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", file, info, err)
		}
	}
	if made, err = peers.MakeCertificate(dir, peers.Wanted{Host: "books-2", Now: time.Now()}); err != nil || made.Authority || len(made.Files) != 2 {
		t.Errorf("the second host: %+v, %v", made, err)
	}
	for _, host := range []string{"books-1", "books-2"} {
		if loaded, err := peers.LoadIdentity(dir, host, time.Now(), nil); err != nil || loaded.Name != host {
			t.Errorf("%s: %v", host, err)
		}
	}
	before := read(t, filepath.Join(dir, "books-1.pem"))
	for _, test := range []struct {
		name, host, want string
		remove           string
	}{
		{"again", "books-1", "is there already and is not overwritten", ""},
		{"without its key", "books-1", "is there already and is not overwritten", "books-1-key.pem"},
		{"the authority's name", "ca", "cannot be called \"ca\"", ""},
		{"the name of a key", "books-1-key", "cannot be called \"books-1-key\"", ""},
		{"no name", "Books 1", "host name", ""},
		{"a path", "../x", "host name", ""},
		{"without the authority's key", "books-3", "make the certificate where the authority was made", "ca-key.pem"},
	} {
		if test.remove != "" {
			if err := os.Remove(filepath.Join(dir, test.remove)); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := peers.MakeCertificate(dir, peers.Wanted{Host: test.host, Now: time.Now()}); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", test.name, err)
		}
	}
	if after := read(t, filepath.Join(dir, "books-1.pem")); after != before {
		t.Error("a certificate was overwritten")
	}
}

// TestStrangeNames: whatever names a host can have, its certificate can be made and read.
func TestStrangeNames(t *testing.T) {
	dir := t.TempDir()
	for _, host := range []string{"10.0.0.1", "a_b", "0", "a.", "a-", strings.Repeat("a", 64), "localhost"} {
		_, err := peers.MakeCertificate(dir, peers.Wanted{Host: host, Now: time.Now()})
		if err == nil {
			_, err = peers.LoadIdentity(dir, host, time.Now(), nil)
		}
		if err != nil {
			t.Errorf("%q: %v", host, err)
		}
	}
}

// TestLoadIdentity: what cannot be used is named, with what to do about it.
func TestLoadIdentity(t *testing.T) {
	foreign, later := certificates(t, "a"), time.Now().Add(25*365*24*time.Hour/10) // 2.5 years
	for _, test := range []struct {
		name string
		host string
		now  time.Time
		do   func(dir string) error
		want []string
	}{
		{"no such host", "c", time.Now(), nil, []string{"c.pem", "no such file", "life cluster certificates", "--host c"}},
		{"no authority", "a", time.Now(), func(dir string) error { return os.Remove(filepath.Join(dir, "ca.pem")) }, []string{"ca.pem", "no such file"}},
		{"copied in part", "a", time.Now(), func(dir string) error {
			return errorsOf(os.Remove(filepath.Join(dir, "ca-key.pem")), os.Remove(filepath.Join(dir, "a.pem")))
		}, []string{"a.pem", "no such file", "where the authority is, and copy ca.pem, a.pem and a-key.pem"}},
		{"no key", "a", time.Now(), func(dir string) error { return os.Remove(filepath.Join(dir, "a-key.pem")) }, []string{"a-key.pem", "no such file", "--host a"}},
		{"another's key", "a", time.Now(), func(dir string) error {
			return copyFile(filepath.Join(dir, "b-key.pem"), filepath.Join(dir, "a-key.pem"))
		}, []string{"a-key.pem", "a.pem with", "private key does not match"}},
		{"another's certificate", "a", time.Now(), func(dir string) error {
			return errorsOf(copyFile(filepath.Join(dir, "b.pem"), filepath.Join(dir, "a.pem")), copyFile(filepath.Join(dir, "b-key.pem"), filepath.Join(dir, "a-key.pem")))
		}, []string{`a.pem is the certificate of "b", not of host "a"`, "make another"}},
		{"a foreign authority", "a", time.Now(), func(dir string) error {
			return copyFile(filepath.Join(foreign, "ca.pem"), filepath.Join(dir, "ca.pem"))
		}, []string{"a.pem was not signed by", "ca.pem", "the same authority"}},
		{"expired", "a", later, nil, []string{"a.pem expired on", "make another"}},
		{"an expired authority", "a", time.Now().Add(11 * 365 * 24 * time.Hour), nil, []string{"ca.pem expired on", "new certificates for all hosts"}},
		{"a clock that is wrong", "a", time.Now().Add(-48 * time.Hour), nil, []string{"a.pem is valid from", "set the clock"}},
		{"garbage", "a", time.Now(), func(dir string) error { return os.WriteFile(filepath.Join(dir, "a.pem"), []byte("garbage"), 0o600) }, []string{"a.pem holds no certificate in PEM"}},
		{"a damaged certificate", "a", time.Now(), func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "ca.pem"), []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), 0o600)
		}, []string{"ca.pem"}},
		{"a directory", "a", time.Now(), func(dir string) error {
			return errorsOf(os.Remove(filepath.Join(dir, "a.pem")), os.Mkdir(filepath.Join(dir, "a.pem"), 0o700))
		}, []string{"a.pem", "is a directory"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := certificates(t, "a", "b")
			if test.do != nil {
				if err := test.do(dir); err != nil {
					t.Fatal(err)
				}
			}
			_, err := peers.LoadIdentity(dir, test.host, test.now, nil)
			for _, want := range test.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%v does not say %q", err, want)
				}
			}
		})
	}
}
