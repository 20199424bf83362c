package peers

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"example.com/life/actors/membership"
	"example.com/life/adapters/tlsfiles"
	"example.com/life/events"
)

// Identity is what a host proves its name with, and knows other hosts by: its certificate, and those of the authorities that sign all. It is renewed by replacing
// its files: connections that are made from then on take the new ones.
type Identity struct {
	Name    string
	current *tlsfiles.Renewed[*credentials]
}

// credentials are what was read at one time.
type credentials struct {
	expires Expiry
	roots   *x509.CertPool
	server  *tls.Config
	client  *tls.Config // without whom it is for
}

// Expiry says until when certificates are valid.
type Expiry struct{ Host, Authority time.Time }

// LoadIdentity reads the certificate of a host from a directory: ca.pem, NAME.pem and NAME-key.pem. Errors name the file and the remedy.
func LoadIdentity(dir, name string, now time.Time, log *slog.Logger) (*Identity, error) {
	if err := events.ValidateHost(name); err != nil {
		return nil, err
	}
	files := tlsfiles.Files{
		Certificate: filepath.Join(dir, certificateFile(name)), Key: filepath.Join(dir, keyFile(name)), Authorities: filepath.Join(dir, authorityFile),
	}
	began := time.Now()
	current, err := tlsfiles.Renew(files, log, func(content tlsfiles.Content) (*credentials, error) {
		return newCredentials(content, files.Certificate, name, now.Add(time.Since(began)))
	})
	if err != nil {
		return nil, explain(err, dir, name)
	}
	return &Identity{Name: name, current: current}, nil
}

// Expires says until when the certificates are valid.
func (i *Identity) Expires() Expiry { return i.current.Current(context.Background()).expires }

func newCredentials(content tlsfiles.Content, path, name string, now time.Time) (*credentials, error) {
	leaf, roots := content.Pair.Leaf, content.Pool()
	ca := issuer(leaf, content.Authorities)
	if err := check(leaf, ca, path, name, now); err != nil {
		return nil, err
	}
	base := &tls.Config{
		Certificates: []tls.Certificate{content.Pair}, MinVersion: tls.VersionTLS13, NextProtos: []string{protocol},
		SessionTicketsDisabled: true, // every connection shows its certificate
	}
	c := &credentials{expires: Expiry{leaf.NotAfter, ca.NotAfter}, roots: roots, client: base, server: base.Clone()}
	c.server.ClientCAs, c.server.ClientAuth = roots, tls.RequireAndVerifyClientCert
	c.server.VerifyConnection = func(state tls.ConnectionState) error {
		_, err := nameOf(state)
		return err
	}
	return c, nil
}

// issuer is which of the authorities signed a certificate; the first, if none did. There are two while one takes the place of the other.
func issuer(leaf *x509.Certificate, authorities []*x509.Certificate) *x509.Certificate {
	for _, authority := range authorities {
		if leaf.CheckSignatureFrom(authority) == nil {
			return authority
		}
	}
	return authorities[0]
}

// server is how connections are answered.
func (i *Identity) server(ctx context.Context) *tls.Config { return i.current.Current(ctx).server }

// dialer is how the host of a name is connected to.
func (i *Identity) dialer(ctx context.Context, name string) *tls.Config {
	current := i.current.Current(ctx)
	config := current.client.Clone()
	config.InsecureSkipVerify = true // what it would verify is done below: names of hosts are no DNS names
	config.VerifyConnection = func(state tls.ConnectionState) error {
		_, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: current.roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
		if err != nil {
			return fmt.Errorf("%w: its certificate (do both have the same ca.pem?): %w", membership.ErrUntrusted, err)
		}
		switch found, err := nameOf(state); {
		case err != nil:
			return err
		case found != name:
			return fmt.Errorf("%w: it is host %q, not %q", membership.ErrUntrusted, found, name)
		}
		return nil
	}
	return config
}

// nameOf is the name of the host at the other end, whose certificate was verified. Who speaks another protocol is no host.
func nameOf(state tls.ConnectionState) (string, error) {
	if state.NegotiatedProtocol != protocol {
		return "", fmt.Errorf("the other end does not speak %s", protocol)
	}
	name := state.PeerCertificates[0].Subject.CommonName
	return name, events.ValidateHost(name)
}

// check says why a certificate cannot be used.
func check(leaf, ca *x509.Certificate, path, name string, now time.Time) error {
	dir := filepath.Dir(path)
	anew := fmt.Sprintf("remove it and its key, and make another: life cluster certificates %s --host %s", dir, name)
	authority := filepath.Join(dir, authorityFile)
	switch {
	case now.After(ca.NotAfter):
		return fmt.Errorf("%s expired on %s: make a new authority in another directory, and new certificates for all hosts", authority, day(ca.NotAfter))
	case now.After(leaf.NotAfter):
		return fmt.Errorf("%s expired on %s: %s", path, day(leaf.NotAfter), anew)
	case now.Before(leaf.NotBefore), now.Before(ca.NotBefore):
		return fmt.Errorf("%s is valid from %s, which is later than this machine's clock: set the clock", path, day(leaf.NotBefore))
	case leaf.Subject.CommonName != name:
		return fmt.Errorf("%s is the certificate of %q, not of host %q: %s", path, leaf.Subject.CommonName, name, anew)
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
		if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{usage}}); err != nil {
			return fmt.Errorf("%s was not signed by %s for hosts (%w): all hosts need the same authority; %s", path, authority, err, anew)
		}
	}
	return nil
}

// explain adds what to do about a certificate that cannot be read.
func explain(err error, dir, name string) error {
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if _, missing := os.Stat(filepath.Join(dir, authorityKeyFile)); missing != nil {
		return fmt.Errorf("%w: make it with life cluster certificates DIR --host %s where the authority is, and copy %s, %s and %s to %s",
			err, name, authorityFile, certificateFile(name), keyFile(name), dir)
	}
	return fmt.Errorf("%w: make it with life cluster certificates %s --host %s", err, dir, name)
}
