package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
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

// LoadTLS reads the files and returns a configuration for Config.TLS that reads them again when they change, so that a certificate is
// renewed by replacing its files. Files that cannot be used, or are half written, change nothing: what was read before stays.
func LoadTLS(files TLSFiles) (*tls.Config, error) {
	if files.Log == nil {
		files.Log = slog.New(slog.DiscardHandler)
	}
	r := &reloaded{files: files}
	var err error
	if r.config, err = files.load(); err != nil {
		return nil, err
	}
	r.read = files.stamps()
	base := r.config.Clone()
	base.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) { return r.current(hello.Context()), nil }
	return base, nil
}

// reloaded is what was read last.
type reloaded struct {
	files TLSFiles

	mu     sync.Mutex
	config *tls.Config
	read   [3]stamp // of the files that were read last, whether or not they could be used
}

// stamp is how a file looks from outside.
type stamp struct {
	modified time.Time
	size     int64
}

// current looks at the files at each handshake, which costs little beside it.
func (r *reloaded) current(ctx context.Context) *tls.Config {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.files.stamps()
	if now == r.read {
		return r.config
	}
	r.read = now
	config, err := r.files.load()
	if err != nil {
		r.files.Log.ErrorContext(ctx, "the certificate changed and cannot be used: the old one is used on", "error", err)
		return r.config
	}
	r.files.Log.InfoContext(ctx, "the certificate was read again", "certificate", r.files.Certificate)
	r.config = config
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
	config.ClientAuth = tls.VerifyClientCertIfGiven // who has none logs in with a password
	return config, nil
}
