package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"
)

// TLSFiles names the files of a server's certificate, all in PEM.
type TLSFiles struct {
	Certificate string // the server's, followed by those of its issuers
	Key         string // of the certificate
	ClientCA    string // issuers of certificates that users log in with; empty: users log in with passwords only
	Log         *slog.Logger
}

// TLS is the certificate of a server, and how it knows those of users. It reads its files again when they change, so that a certificate is
// renewed by replacing them. Files that cannot be used, or are half written, change nothing: what was read before stays.
type TLS struct {
	files TLSFiles
	base  *tls.Config // asks for what was read last at each handshake

	mu     sync.Mutex
	config *tls.Config // what was read last
	read   [3]stamp    // of the files that were read last, whether or not they could be used
}

// LoadTLS reads the files.
func LoadTLS(files TLSFiles) (*TLS, error) {
	if files.Log == nil {
		files.Log = slog.New(slog.DiscardHandler)
	}
	t := &TLS{files: files}
	var err error
	if t.config, err = files.load(); err != nil {
		return nil, err
	}
	t.read = files.stamps()
	t.base = t.config.Clone()
	t.base.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) { return t.current(hello.Context()), nil }
	return t, nil
}

// handshake makes a connection secure, within the connection's deadline. A user's certificate that no known issuer has signed, or that is
// not valid any more, is none: its user may have a password too.
func (t *TLS) handshake(ctx context.Context, conn net.Conn) (*tls.Conn, tls.ConnectionState, error) {
	secure := tls.Server(conn, t.base)
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, tls.ConnectionState{}, err
	}
	state := secure.ConnectionState()
	if len(state.PeerCertificates) == 0 {
		return secure, state, nil
	}
	options := x509.VerifyOptions{Roots: t.current(ctx).ClientCAs, Intermediates: x509.NewCertPool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	if options.Roots == nil {
		return secure, state, nil
	}
	for _, issuer := range state.PeerCertificates[1:] {
		options.Intermediates.AddCert(issuer)
	}
	var err error
	if state.VerifiedChains, err = state.PeerCertificates[0].Verify(options); err != nil {
		t.files.Log.InfoContext(ctx, "a user's certificate counts for nothing: only a password does", "from", conn.RemoteAddr().String(), "error", err)
	}
	return secure, state, nil
}

// stamp is how a file looks from outside.
type stamp struct {
	modified time.Time
	size     int64
}

// current looks at the files at each handshake, which costs little beside it.
func (t *TLS) current(ctx context.Context) *tls.Config {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.files.stamps()
	if now == t.read {
		return t.config
	}
	t.read = now
	config, err := t.files.load()
	if err != nil {
		t.files.Log.ErrorContext(ctx, "the certificate changed and cannot be used: the old one is used on", "error", err)
		return t.config
	}
	t.files.Log.InfoContext(ctx, "the certificate was read again", "certificate", t.files.Certificate)
	t.config = config
	return config
}

func (f *TLSFiles) stamps() (all [3]stamp) {
	for i, path := range []string{f.Certificate, f.Key, f.ClientCA} {
		if info, err := os.Stat(path); err == nil {
			all[i] = stamp{modified: info.ModTime(), size: info.Size()}
		}
	}
	return all
}

func (f *TLSFiles) load() (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(f.Certificate, f.Key)
	if err != nil {
		return nil, fmt.Errorf("read the certificate: %w", err)
	}
	config := &tls.Config{
		Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"},
	}
	if f.ClientCA == "" {
		return config, nil
	}
	text, err := os.ReadFile(f.ClientCA)
	if err != nil {
		return nil, fmt.Errorf("read the issuers of users' certificates: %w", err)
	}
	config.ClientCAs = x509.NewCertPool()
	if !config.ClientCAs.AppendCertsFromPEM(text) {
		return nil, errors.New("read the issuers of users' certificates: " + f.ClientCA + " holds no certificate in PEM")
	}
	config.ClientAuth = tls.RequestClientCert // verified after the handshake: who has none that is good logs in with a password
	return config, nil
}
