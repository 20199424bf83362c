package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"

	"example.com/life/adapters/tlsfiles"
)

// TLSFiles names the files of a server's certificate, all in PEM.
type TLSFiles struct {
	Certificate string // the server's, followed by those of its issuers
	Key         string // of the certificate
	ClientCA    string // issuers of certificates that users log in with; empty: users log in with passwords only
	Log         *slog.Logger
}

// TLS is the certificate of a server, and how it knows those of users. A certificate is renewed by replacing its files.
type TLS struct {
	log    *slog.Logger
	config *tlsfiles.Renewed[*tls.Config]
	base   *tls.Config // asks for what was read last at each handshake
}

// LoadTLS reads the files.
func LoadTLS(files TLSFiles) (*TLS, error) {
	if files.Log == nil {
		files.Log = slog.New(slog.DiscardHandler)
	}
	renewed, err := tlsfiles.Renew(tlsfiles.Files{Certificate: files.Certificate, Key: files.Key, Authorities: files.ClientCA}, files.Log, serverConfig)
	if err != nil {
		return nil, err
	}
	t := &TLS{log: files.Log, config: renewed, base: renewed.Current(context.Background()).Clone()}
	t.base.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) { return renewed.Current(hello.Context()), nil }
	return t, nil
}

func serverConfig(content tlsfiles.Content) (*tls.Config, error) {
	config := &tls.Config{
		Certificates: []tls.Certificate{content.Pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}, ClientCAs: content.Pool(),
	}
	if config.ClientCAs != nil {
		config.ClientAuth = tls.RequestClientCert // verified after the handshake: who has none that is good logs in with a password
	}
	return config, nil
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
	options := x509.VerifyOptions{Roots: t.config.Current(ctx).ClientCAs, Intermediates: x509.NewCertPool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	if options.Roots == nil {
		return secure, state, nil
	}
	for _, issuer := range state.PeerCertificates[1:] {
		options.Intermediates.AddCert(issuer)
	}
	var err error
	if state.VerifiedChains, err = state.PeerCertificates[0].Verify(options); err != nil {
		t.log.InfoContext(ctx, "a user's certificate counts for nothing: only a password does", "from", conn.RemoteAddr().String(), "error", err)
	}
	return secure, state, nil
}
