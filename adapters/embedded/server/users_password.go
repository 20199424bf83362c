package server

import (
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // nothing else compares with what EventStoreDB stored
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"

	"golang.org/x/crypto/argon2"
)

// Bounds of a password and of its hash. A new hash takes argon2id two passes over 19 MiB, which is about 30 ms of one core; users_login.go
// sees to it that few of them are paid. Hashes of older builds are PBKDF2's, about 120 ms each.
const (
	minPassword   = 8
	maxPassword   = 1024 // bytes
	saltBytes     = 16
	hashBytes     = sha256.Size
	argon2Name    = "argon2id"
	pbkdf2Name    = "pbkdf2-sha256"
	defaultMemory = 19 << 10 // KiB
	minMemory     = 64       // KiB
	defaultRounds = 2

	// More than that in a record would hold a core, or memory, for seconds.
	maxPBKDF2Rounds = 10_000_000
	maxArgon2Rounds = 8
	maxMemory       = 64 << 10 // KiB
)

// secret is a password as it is stored.
type secret struct {
	Algorithm string `json:"algorithm"`
	Rounds    int    `json:"rounds"`
	Memory    int    `json:"memory,omitempty"` // KiB that each round of argon2id goes over
	Salt      []byte `json:"salt"`
	Hash      []byte `json:"hash"`
}

// newSecret hashes a password with a new salt.
func newSecret(password string, memory int) (secret, error) {
	switch {
	case len(password) < minPassword:
		return secret{}, fmt.Errorf("%w: the password has %d bytes: give one of at least %d", ErrInvalidUser, len(password), minPassword)
	case len(password) > maxPassword:
		return secret{}, fmt.Errorf("%w: the password has %d bytes: give one of at most %d", ErrInvalidUser, len(password), maxPassword)
	}
	s := secret{Algorithm: argon2Name, Rounds: defaultRounds, Memory: memory, Salt: make([]byte, saltBytes)}
	rand.Read(s.Salt) // it never fails: it ends the process instead
	var err error
	if s.Hash, err = s.derive(password); err != nil {
		return secret{}, err
	}
	return s, nil
}

// check says why nothing can be compared with the secret.
func (s *secret) check() error {
	malformed := errors.New("the stored password is malformed: give the user a new one")
	size := hashBytes
	switch s.Algorithm {
	case argon2Name:
		if s.Rounds < 1 || s.Rounds > maxArgon2Rounds || s.Memory < minMemory || s.Memory > maxMemory {
			return malformed
		}
	case pbkdf2Name:
		if s.Rounds < 1 || s.Rounds > maxPBKDF2Rounds {
			return malformed
		}
	case importedName:
		if s.Rounds != importedRounds {
			return malformed
		}
		size = importedHash
	default:
		return fmt.Errorf("the password is stored as %q, which this server does not know: give the user a new one", s.Algorithm)
	}
	if len(s.Salt) < 8 || len(s.Salt) > 1024 || len(s.Hash) != size {
		return malformed
	}
	return nil
}

// cheap reports that to compare with the secret takes next to no time.
func (s *secret) cheap() bool { return s.Algorithm == importedName || s.check() != nil }

// matches compares in constant time, whatever the password is.
func (s *secret) matches(password string) bool {
	if s.check() != nil || len(password) > maxPassword {
		return false
	}
	derived, err := s.derive(password)
	return err == nil && subtle.ConstantTimeCompare(derived, s.Hash) == 1
}

func (s *secret) derive(password string) ([]byte, error) {
	if s.Algorithm == argon2Name {
		return argon2.IDKey([]byte(password), s.Salt, uint32(s.Rounds), uint32(s.Memory), 1, hashBytes), nil //nolint:gosec // both are checked
	}
	function, size := sha256.New, hashBytes
	if s.Algorithm == importedName {
		function, size = sha1.New, importedHash
	}
	derived, err := pbkdf2.Key(function, password, s.Salt, s.Rounds, size)
	if err != nil {
		return nil, fmt.Errorf("hash the password: %w", err)
	}
	return derived, nil
}

// equal reports whether both were made from the same password at the same time.
func (s *secret) equal(other *secret) bool {
	return s.Algorithm == other.Algorithm && s.Rounds == other.Rounds && s.Memory == other.Memory &&
		subtle.ConstantTimeCompare(s.Salt, other.Salt) == 1 && subtle.ConstantTimeCompare(s.Hash, other.Hash) == 1
}
