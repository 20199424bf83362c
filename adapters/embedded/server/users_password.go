package server

import (
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
)

// Bounds of a password and of its hash. The rounds cost about 120 ms of one core; logins.go sees to it that few of them are paid.
const (
	minPassword   = 8
	maxPassword   = 1024 // bytes
	saltBytes     = 16
	hashBytes     = sha256.Size
	defaultRounds = 600_000
	minRounds     = 1_000
	maxRounds     = 10_000_000 // more than that in a record would hold a core for seconds
	pbkdf2Name    = "pbkdf2-sha256"
)

// secret is a password as it is stored.
type secret struct {
	Algorithm string `json:"algorithm"`
	Rounds    int    `json:"rounds"`
	Salt      []byte `json:"salt"`
	Hash      []byte `json:"hash"`
}

// newSecret hashes a password with a new salt.
func newSecret(password string, rounds int) (secret, error) {
	switch {
	case len(password) < minPassword:
		return secret{}, fmt.Errorf("the password has %d bytes: give one of at least %d", len(password), minPassword)
	case len(password) > maxPassword:
		return secret{}, fmt.Errorf("the password has %d bytes: give one of at most %d", len(password), maxPassword)
	}
	s := secret{Algorithm: pbkdf2Name, Rounds: rounds, Salt: make([]byte, saltBytes)}
	rand.Read(s.Salt) // it never fails: it ends the process instead
	var err error
	if s.Hash, err = s.derive(password); err != nil {
		return secret{}, err
	}
	return s, nil
}

// check says why nothing can be compared with the secret.
func (s *secret) check() error {
	switch {
	case s.Algorithm != pbkdf2Name:
		return fmt.Errorf("the password is stored as %q, which this server does not know: give the user a new one", s.Algorithm)
	case s.Rounds < 1 || s.Rounds > maxRounds, len(s.Salt) < 8 || len(s.Salt) > 1024, len(s.Hash) != hashBytes:
		return errors.New("the stored password is malformed: give the user a new one")
	}
	return nil
}

// matches compares in constant time, whatever the password is.
func (s *secret) matches(password string) bool {
	if s.check() != nil || len(password) > maxPassword {
		return false
	}
	derived, err := s.derive(password)
	return err == nil && subtle.ConstantTimeCompare(derived, s.Hash) == 1
}

func (s *secret) derive(password string) ([]byte, error) {
	derived, err := pbkdf2.Key(sha256.New, password, s.Salt, s.Rounds, hashBytes)
	if err != nil {
		return nil, fmt.Errorf("hash the password: %w", err)
	}
	return derived, nil
}

// equal reports whether both were made from the same password at the same time.
func (s *secret) equal(other *secret) bool {
	return s.Algorithm == other.Algorithm && s.Rounds == other.Rounds &&
		subtle.ConstantTimeCompare(s.Salt, other.Salt) == 1 && subtle.ConstantTimeCompare(s.Hash, other.Hash) == 1
}
