package server

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// DevelopmentCertificates is what it takes to try TLS before there are real certificates.
type DevelopmentCertificates struct {
	Dir      string   // made when it is not there
	Hosts    []string // names and addresses of the server; at least one
	Users    []string // who gets a certificate to log in with
	Lifetime time.Duration
}

// The files that Write makes. A user's are user-NAME.crt and user-NAME.key.
const (
	developmentCA   = "ca.crt"
	developmentCert = "server.crt"
	developmentKey  = "server.key"
)

const userKeyBits = 2048

// Write makes an issuer, and with it a certificate for the server and one for each user. The issuer's key is thrown away: nobody, who
// reads the directory included, can make others that those who trust the issuer trust too. It overwrites nothing.
func (c DevelopmentCertificates) Write() error {
	if len(c.Hosts) == 0 {
		return errors.New("make certificates: name at least one host, such as 127.0.0.1")
	}
	for _, name := range c.Users {
		if err := (&User{Name: name}).check(); err != nil {
			return fmt.Errorf("make certificates: %w", err)
		}
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return fmt.Errorf("make certificates: %w", err)
	}
	if _, err := os.Stat(filepath.Join(c.Dir, developmentCA)); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("make certificates: there are some in %s already; remove the directory, or choose another one", c.Dir)
	}
	issuer, err := c.issuer()
	if err != nil {
		return err
	}
	server := c.template(c.Hosts[0])
	server.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	for _, host := range c.Hosts {
		if ip := net.ParseIP(host); ip != nil {
			server.IPAddresses = append(server.IPAddresses, ip)
		} else {
			server.DNSNames = append(server.DNSNames, host)
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("make the server's key: %w", err)
	}
	if err := issuer.write(server, key, filepath.Join(c.Dir, developmentCert), filepath.Join(c.Dir, developmentKey)); err != nil {
		return err
	}
	for _, name := range c.Users {
		user := c.template(name)
		user.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		path := filepath.Join(c.Dir, "user-"+name)
		key, err := rsa.GenerateKey(rand.Reader, userKeyBits) // EventStoreDB's client for .NET reads no other
		if err != nil {
			return fmt.Errorf("make the key of %s: %w", name, err)
		}
		if err := issuer.write(user, key, path+".crt", path+".key"); err != nil {
			return err
		}
	}
	return writePEM(filepath.Join(c.Dir, developmentCA), "CERTIFICATE", issuer.certificate.Raw, 0o644)
}

// developmentIssuer signs certificates as long as it is in memory.
type developmentIssuer struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func (c DevelopmentCertificates) issuer() (*developmentIssuer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the issuer's key: %w", err)
	}
	template := c.template("life development CA " + time.Now().UTC().Format(time.DateOnly))
	template.IsCA, template.BasicConstraintsValid, template.MaxPathLenZero = true, true, true
	template.KeyUsage = x509.KeyUsageCertSign
	raw, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("make the issuer: %w", err)
	}
	certificate, err := x509.ParseCertificate(raw)
	if err != nil {
		return nil, fmt.Errorf("make the issuer: %w", err)
	}
	return &developmentIssuer{certificate: certificate, key: key}, nil
}

func (c DevelopmentCertificates) template(name string) *x509.Certificate {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		panic(fmt.Sprintf("server: read random bytes: %v", err)) // it never fails: it ends the process instead
	}
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, KeyUsage: x509.KeyUsageDigitalSignature,
		NotBefore: now.Add(-time.Hour), // for clocks that are behind
		NotAfter:  now.Add(c.Lifetime),
	}
}

// write writes a key and makes its certificate. The certificate is last: files that are there are a pair.
func (i *developmentIssuer) write(template *x509.Certificate, key crypto.Signer, certPath, keyPath string) error {
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("write the key of %s: %w", template.Subject.CommonName, err)
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, i.certificate, key.Public(), i.key)
	if err != nil {
		return fmt.Errorf("make the certificate of %s: %w", template.Subject.CommonName, err)
	}
	if err := writePEM(keyPath, "PRIVATE KEY", secret, 0o600); err != nil {
		return err
	}
	return writePEM(certPath, "CERTIFICATE", raw, 0o644)
}

// writePEM makes a file that was not there.
func writePEM(path, kind string, raw []byte, mode fs.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return fmt.Errorf("write the certificates: %w", err)
	}
	if err := errors.Join(pem.Encode(f, &pem.Block{Type: kind, Bytes: raw}), f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
