package peers

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
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
	"strings"
	"time"

	"example.com/life/adapters/tlsfiles"
	"example.com/life/events"
)

// The files of a directory of certificates: those of the authority, and two for each host. A host needs ca.pem and its own two.
const (
	authorityFile    = "ca.pem"
	authorityKeyFile = "ca-key.pem"
)

func certificateFile(host string) string { return host + ".pem" }
func keyFile(host string) string         { return host + "-key.pem" }

// How long certificates are valid, from an hour before they are made: clocks differ.
const (
	clocksDiffer  = time.Hour
	authorityTime = 10 * 365 * 24 * time.Hour
	hostTime      = 2 * 365 * 24 * time.Hour
)

// Wanted is a certificate to be made.
type Wanted struct {
	Host      string
	Addresses []string // IP addresses and DNS names besides the loopback's, for other programs: hosts compare names only
	Now       time.Time
}

// Made says which files were made.
type Made struct {
	Files     []string // the paths, in the order in which they were made
	Authority bool     // its two are among them
	Expires   time.Time
}

// MakeCertificate makes the certificate of a host in a directory, signed by the authority there, which it makes first if there is none. It
// overwrites nothing. If we die half way, it names what is there and has to be removed.
//
// Who holds the key of any host can command every agent of the cluster; who holds the authority's can make itself such a host.
func MakeCertificate(dir string, wanted Wanted) (Made, error) {
	if err := events.ValidateHost(wanted.Host); err != nil {
		return Made{}, err
	}
	if certificateFile(wanted.Host) == authorityFile || strings.HasSuffix(wanted.Host, "-key") {
		return Made{}, fmt.Errorf("a host with a certificate cannot be called %q: %s is the name of another file of this directory",
			wanted.Host, certificateFile(wanted.Host))
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return Made{}, fmt.Errorf("make the directory of certificates: %w", err)
	}
	for _, name := range []string{certificateFile(wanted.Host), keyFile(wanted.Host)} {
		if path := filepath.Join(dir, name); exists(path) {
			return Made{}, fmt.Errorf("%s is there already and is not overwritten: to make a new certificate for host %s, remove %s and %s first",
				path, wanted.Host, filepath.Join(dir, certificateFile(wanted.Host)), filepath.Join(dir, keyFile(wanted.Host)))
		}
	}
	var made Made
	ca, err := readAuthority(dir)
	if errors.Is(err, fs.ErrNotExist) {
		made.Authority = true
		ca, err = makeAuthority(dir, wanted.Now, &made)
	}
	if err != nil {
		return made, err
	}
	made.Expires = wanted.Now.Add(hostTime)
	if made.Expires.After(ca.certificate.NotAfter) {
		made.Expires = ca.certificate.NotAfter
	}
	if !made.Expires.After(wanted.Now) {
		return made, fmt.Errorf("%s expired on %s: make a new authority in another directory, and new certificates for all hosts",
			filepath.Join(dir, authorityFile), day(ca.certificate.NotAfter))
	}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: wanted.Host}, NotBefore: wanted.Now.Add(-clocksDiffer), NotAfter: made.Expires,
		DNSNames: []string{wanted.Host, "localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}
	for _, address := range wanted.Addresses {
		if ip := net.ParseIP(address); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, address)
		}
	}
	_, err = sign(dir, certificateFile(wanted.Host), keyFile(wanted.Host), template, &ca, &made)
	return made, err
}

// authority signs certificates.
type authority struct {
	certificate *x509.Certificate
	key         any
}

// readAuthority reads the authority of a directory; the error is fs.ErrNotExist if there is none, and no half of one.
func readAuthority(dir string) (authority, error) {
	certificate, key := filepath.Join(dir, authorityFile), filepath.Join(dir, authorityKeyFile)
	switch one, other := exists(certificate), exists(key); {
	case !one && !other:
		return authority{}, fs.ErrNotExist
	case !other:
		return authority{}, fmt.Errorf("%s is missing, so nothing can be signed here: make the certificate where the authority was made, and copy it", key)
	case !one:
		return authority{}, fmt.Errorf("%s is there without %s: if no host has a certificate of it yet, remove it", key, certificate)
	}
	read, err := tlsfiles.ReadCertificates(certificate)
	if err != nil {
		return authority{}, err
	}
	text, err := os.ReadFile(key)
	if err != nil {
		return authority{}, fmt.Errorf("read the authority's key: %w", err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return authority{}, fmt.Errorf("%s holds no key in PEM", key)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return authority{}, fmt.Errorf("read %s: %w", key, err)
	}
	return authority{read[0], parsed}, nil
}

func makeAuthority(dir string, now time.Time, made *Made) (authority, error) {
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "Life cluster"}, NotBefore: now.Add(-clocksDiffer), NotAfter: now.Add(authorityTime),
		KeyUsage: x509.KeyUsageCertSign, BasicConstraintsValid: true, IsCA: true, MaxPathLenZero: true,
	}
	return sign(dir, authorityFile, authorityKeyFile, template, nil, made)
}

// sign makes a key and a certificate for it, and writes both. Without an issuer it signs itself.
func sign(dir, certificate, key string, template *x509.Certificate, issuer *authority, made *Made) (authority, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return authority{}, fmt.Errorf("make a key: %w", err)
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)); err != nil {
		return authority{}, fmt.Errorf("make a serial number: %w", err)
	}
	if issuer == nil {
		issuer = &authority{template, private}
	}
	signed, err := x509.CreateCertificate(rand.Reader, template, issuer.certificate, private.Public(), issuer.key)
	if err != nil {
		return authority{}, fmt.Errorf("sign a certificate: %w", err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return authority{}, fmt.Errorf("encode a key: %w", err)
	}
	for _, file := range []struct {
		name, kind string
		content    []byte
	}{{key, "PRIVATE KEY", encoded}, {certificate, "CERTIFICATE", signed}} {
		path := filepath.Join(dir, file.name)
		if err := writeNew(path, pem.EncodeToMemory(&pem.Block{Type: file.kind, Bytes: file.content})); err != nil {
			return authority{}, err
		}
		made.Files = append(made.Files, path)
	}
	read, err := x509.ParseCertificate(signed)
	return authority{read, private}, err
}

// writeNew writes a file that is not there yet and that only its owner can read.
func writeNew(path string, content []byte) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("write a certificate: %w", err)
	}
	_, err = file.Write(content)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", path, err), os.Remove(path))
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

func day(at time.Time) string { return at.UTC().Format("2006-01-02 15:04 UTC") }
