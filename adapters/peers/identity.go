package peers

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"example.com/life/actors/membership"
	"example.com/life/events"
)

// Identity is what a host proves its name with, and knows other hosts by: its certificate, and that of the authority which signed all.
type Identity struct {
	Name    string
	Expires time.Time
	roots   *x509.CertPool
	server  *tls.Config
	client  *tls.Config // without whom it is for
}

// LoadIdentity reads the certificate of a host from a directory: ca.pem, NAME.pem and NAME-key.pem. Errors name the file and the remedy.
func LoadIdentity(dir, name string, now time.Time) (*Identity, error) {
	if err := events.ValidateHost(name); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, certificateFile(name))
	ca, err := readCertificate(filepath.Join(dir, authorityFile))
	if err != nil {
		return nil, explain(err, dir, name)
	}
	if _, err := readCertificate(path); err != nil {
		return nil, explain(err, dir, name)
	}
	pair, err := tls.LoadX509KeyPair(path, filepath.Join(dir, keyFile(name)))
	if err != nil {
		return nil, explain(fmt.Errorf("read %s with %s: %w", path, keyFile(name), err), dir, name)
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	if err := check(pair.Leaf, ca, path, name, now); err != nil {
		return nil, err
	}
	base := &tls.Config{
		Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS13, NextProtos: []string{protocol},
		SessionTicketsDisabled: true, // every connection shows its certificate
	}
	identity := &Identity{Name: name, Expires: pair.Leaf.NotAfter, roots: roots, client: base, server: base.Clone()}
	identity.server.ClientCAs, identity.server.ClientAuth = roots, tls.RequireAndVerifyClientCert
	identity.server.VerifyConnection = func(state tls.ConnectionState) error {
		_, err := nameOf(state)
		return err
	}
	return identity, nil
}

// dialer is how the host of a name is connected to.
func (i *Identity) dialer(name string) *tls.Config {
	config := i.client.Clone()
	config.InsecureSkipVerify = true // what it would verify is done below: names of hosts are no DNS names
	config.VerifyConnection = func(state tls.ConnectionState) error {
		_, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: i.roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
		if err != nil {
			return fmt.Errorf("%w: its certificate: %w", membership.ErrUntrusted, err)
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

func readCertificate(path string) (*x509.Certificate, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read a certificate: %w", err)
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, fmt.Errorf("%s holds no certificate in PEM", path)
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return certificate, nil
}
