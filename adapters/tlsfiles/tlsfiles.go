// Package tlsfiles reads certificates, keys and authorities from files, and reads them again when they are replaced: a certificate is renewed without a restart.
// Files that cannot be used, or are half written, change nothing: what was read before stays, and the log says so.
package tlsfiles

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// Files names files in PEM.
type Files struct {
	Certificate string // followed by those of its issuers
	Key         string // of the certificate
	Authorities string // whose certificates others may show; empty: none
}

// Content is what they hold.
type Content struct {
	Pair        tls.Certificate
	Authorities []*x509.Certificate
}

// Pool returns the authorities; nil: there are none.
func (c *Content) Pool() *x509.CertPool {
	if len(c.Authorities) == 0 {
		return nil
	}
	pool := x509.NewCertPool()
	for _, authority := range c.Authorities {
		pool.AddCert(authority)
	}
	return pool
}

// Read reads the files. Errors name the file.
func (f *Files) Read() (content Content, err error) {
	if f.Authorities != "" {
		if content.Authorities, err = ReadCertificates(f.Authorities); err != nil {
			return content, err
		}
	}
	if _, err = ReadCertificates(f.Certificate); err != nil {
		return content, err
	}
	if content.Pair, err = tls.LoadX509KeyPair(f.Certificate, f.Key); err != nil {
		return content, fmt.Errorf("read %s with %s: %w", f.Certificate, f.Key, err)
	}
	return content, nil
}

// ReadCertificates reads the certificates of a file, of which there is at least one.
func ReadCertificates(path string) (list []*x509.Certificate, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the certificate: %w", err)
	}
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
		list = append(list, certificate)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%s holds no certificate in PEM", path)
	}
	return list, nil
}

// Renewed is something that is made of the files, and made anew when they change. It is safe for concurrent use.
type Renewed[T any] struct {
	files Files
	log   *slog.Logger
	make  func(Content) (T, error)

	mu   sync.Mutex
	made T        // of what was read last
	read [3]stamp // of the files that were read last, whether or not they could be used
}

// stamp is how a file looks from outside.
type stamp struct {
	modified time.Time
	size     int64
}

// Renew reads the files and makes something of them.
func Renew[T any](files Files, log *slog.Logger, of func(Content) (T, error)) (*Renewed[T], error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	r := &Renewed[T]{files: files, log: log, make: of, read: files.stamps()} // before they are read: what changes meanwhile is read again
	var err error
	r.made, err = r.load()
	return r, err
}

// Current looks at the files, which costs little beside a handshake.
func (r *Renewed[T]) Current(ctx context.Context) T {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.files.stamps()
	if now == r.read {
		return r.made
	}
	r.read = now
	made, err := r.load()
	if err != nil {
		r.log.ErrorContext(ctx, "the certificate changed and cannot be used: the old one is used on", "error", err)
		return r.made
	}
	r.log.InfoContext(ctx, "the certificate was read again", "certificate", r.files.Certificate)
	r.made = made
	return made
}

func (r *Renewed[T]) load() (made T, err error) {
	content, err := r.files.Read()
	if err != nil {
		return made, err
	}
	return r.make(content)
}

func (f *Files) stamps() (all [3]stamp) {
	for i, path := range []string{f.Certificate, f.Key, f.Authorities} {
		if info, err := os.Stat(path); err == nil {
			all[i] = stamp{modified: info.ModTime(), size: info.Size()}
		}
	}
	return all
}
