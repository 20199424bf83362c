package server

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
)

// Bounds of what is remembered about logins, and of the work they make.
const (
	maxHeader    = 4096 // bytes of an Authorization header
	maxKnown     = 4096 // credentials that were right
	maxRefused   = 1024 // credentials that were wrong
	maxWaiting   = 256  // logins that wait until another one was hashed
	rememberTime = time.Hour
)

// logins checks names and passwords. Hashing is slow on purpose, so it is done once in a while for credentials that are right or wrong, as
// long as their user stays the same; by half of the processors at most, but two at once; and not for addresses that keep guessing. None of
// that holds up credentials that were right before.
type logins struct {
	users    *Users
	key      []byte        // of the digests under which credentials are remembered: no password is kept in memory
	slots    chan struct{} // holds a token for each hash under way
	waiting  atomic.Int64  // for a slot
	guesses  guesses
	stranger secret                     // what the password of nobody is compared with, so that it takes as long
	matches  func(*secret, string) bool // hashes

	changes atomic.Uint64 // of users: what was remembered before has to be looked at again

	mu       sync.Mutex
	known    map[loginID]login
	refused  map[loginID]login
	checking map[loginID]chan struct{} // closed when it is known or refused
}

// loginID is the keyed digest of a header.
type loginID [sha256.Size]byte

// login is what came out about credentials, as long as their user has that secret.
type login struct {
	who     caller // when they were right
	name    string
	secret  secret // zero: there was no such user
	changes uint64 // of users, when it was looked at
	until   time.Time
}

func newLogins(users *Users) *logins {
	l := &logins{
		users: users, key: make([]byte, sha256.Size), slots: make(chan struct{}, max(2, runtime.NumCPU()/2)), matches: (*secret).matches,
		known: map[loginID]login{}, refused: map[loginID]login{}, checking: map[loginID]chan struct{}{},
	}
	rand.Read(l.key) // it never fails: it ends the process instead
	l.stranger = secret{Algorithm: argon2Name, Rounds: defaultRounds, Memory: users.memory, Salt: make([]byte, saltBytes), Hash: make([]byte, hashBytes)}
	rand.Read(l.stranger.Hash)
	return l
}

// badCredentials is the answer to all that is wrong with credentials: which of it is nobody's business.
func badCredentials() *failure {
	return fail(codes.Unauthenticated, "the name or the password is wrong, or the user is disabled")
}

// check returns whose credentials a Basic header holds; errNotBasic when it holds none. address is where they came from.
func (l *logins) check(ctx context.Context, header, address string) (caller, error) {
	name, password, err := parseBasic(header)
	switch {
	case errors.Is(err, errNotBasic):
		return caller{}, err
	case err != nil:
		return caller{}, fail(codes.Unauthenticated, err.Error())
	case len(header) > maxHeader:
		return caller{}, badCredentials()
	}
	id := l.digest(byPassword, header)
	for {
		if who, found, err := l.remembered(ctx, id); found || err != nil {
			return who, err
		}
		done, mine := l.claim(id)
		if mine {
			who, err := l.verify(ctx, id, name, password, address)
			l.release(id, done)
			return who, err
		}
		select { // someone else checks the same credentials
		case <-done:
		case <-ctx.Done():
			return caller{}, storeFailure(ctx.Err(), usersStream)
		}
	}
}

// The ways to log in.
const (
	byPassword    = "Basic"
	byCertificate = "certificate"
)

// digest keeps the ways apart: nothing that is sent in a header can pass for a certificate.
func (l *logins) digest(way, text string) loginID {
	mac := hmac.New(sha256.New, l.key)
	mac.Write([]byte(way + "\x00" + text))
	return loginID(mac.Sum(nil))
}

// certificate returns who has proven to have a name. Nobody, when there is no such user or it is disabled.
func (l *logins) certificate(ctx context.Context, name string) (caller, error) {
	id, now := l.digest(byCertificate, name), l.changes.Load()
	l.mu.Lock()
	entry, found := l.known[id]
	l.mu.Unlock()
	if !found || entry.changes != now {
		record, err := l.load(ctx, name)
		if err != nil {
			return caller{}, err
		}
		entry = login{who: record.caller(), name: name, changes: now}
		l.remember(id, entry, true)
	}
	return entry.who, nil
}

// remembered answers from memory. After a change of any user it reads the user again, and hashes nothing if the secret is the same.
func (l *logins) remembered(ctx context.Context, id loginID) (who caller, found bool, err error) {
	now := l.changes.Load()
	l.mu.Lock()
	entry, right := l.known[id]
	if !right {
		entry, found = l.refused[id]
	}
	l.mu.Unlock()
	if !right && !found {
		return caller{}, false, nil
	}
	if time.Now().After(entry.until) {
		l.forget(id)
		return caller{}, false, nil
	}
	if entry.changes != now {
		record, err := l.load(ctx, entry.name)
		if err != nil {
			return caller{}, false, err
		}
		if !record.equal(&entry.secret) {
			l.forget(id)
			return caller{}, false, nil
		}
		entry.who, entry.changes = record.caller(), now
		l.remember(id, entry, right)
	}
	if !right || entry.who.name == "" {
		return caller{}, true, badCredentials()
	}
	return entry.who, true, nil
}

// caller is who logs in as this user: nobody when it is disabled.
func (r *userRecord) caller() caller {
	if r.Disabled {
		return caller{}
	}
	return caller{name: r.Name, groups: r.Groups}
}

// load returns a user, or the zero record when there is none.
func (l *logins) load(ctx context.Context, name string) (userRecord, error) {
	record, _, err := l.users.load(ctx, name)
	if err != nil && !errors.Is(err, ErrNoUser) {
		return userRecord{}, fail(codes.Unavailable, "the users cannot be read: "+err.Error())
	}
	return record, nil
}

// claim makes the caller the one who checks these credentials, or returns what the one who does will close.
func (l *logins) claim(id loginID) (done chan struct{}, mine bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if done, ok := l.checking[id]; ok {
		return done, false
	}
	done = make(chan struct{})
	l.checking[id] = done
	return done, true
}

func (l *logins) release(id loginID, done chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.checking, id)
	close(done)
}

// verify hashes the password and remembers what came out.
func (l *logins) verify(ctx context.Context, id loginID, name, password, address string) (caller, error) {
	entry := login{name: name, changes: l.changes.Load(), until: time.Now().Add(rememberTime)} // counted before the user is read: a change in between is seen
	record, err := l.load(ctx, name)
	if err != nil {
		return caller{}, err
	}
	entry.secret = record.secret
	right, err := l.compare(ctx, &record, password, address)
	if err != nil {
		return caller{}, err
	}
	if right {
		entry.who = record.caller()
	}
	l.remember(id, entry, right)
	if entry.who.name == "" {
		return caller{}, badCredentials()
	}
	return entry.who, nil
}

// compare hashes a password and compares it with a user's, who need not exist. Wrong ones count as guesses of the address. They are counted
// one by one, as they are hashed: many clients of an address that log in at once are no guessing.
func (l *logins) compare(ctx context.Context, record *userRecord, password, address string) (right bool, err error) {
	guessing := fail(codes.ResourceExhausted, "too many wrong passwords came from this address: wait a few seconds")
	if l.guesses.spent(address) {
		return false, guessing
	}
	release, err := l.slot(ctx)
	if err != nil {
		return false, err
	}
	defer release()
	if !l.guesses.allow(address) {
		return false, guessing
	}
	if record.Name == "" || record.cheap() {
		l.matches(&l.stranger, password) // so that nobody learns by the time who is a user, and of what kind
	}
	if record.Name == "" {
		return false, nil
	}
	if right = l.matches(&record.secret, password); right {
		l.guesses.forgive(address)
	}
	return right, nil
}

// slot waits until something may be hashed.
func (l *logins) slot(ctx context.Context) (release func(), err error) {
	defer l.waiting.Add(-1)
	if l.waiting.Add(1) > maxWaiting {
		return nil, fail(codes.ResourceExhausted, "too many logins wait to be checked: try again in a few seconds")
	}
	select {
	case l.slots <- struct{}{}:
		return func() { <-l.slots }, nil
	case <-ctx.Done():
		return nil, storeFailure(ctx.Err(), usersStream)
	}
}

// remember keeps what came out. When there is no room anything else goes: it costs one more hash.
func (l *logins) remember(id loginID, entry login, right bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	keep, most := l.refused, maxRefused
	if right {
		keep, most = l.known, maxKnown
	}
	for other := range keep {
		if len(keep) < most {
			break
		}
		delete(keep, other)
	}
	keep[id] = entry
}

func (l *logins) forget(id loginID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.known, id)
	delete(l.refused, id)
}

// errNotBasic says that a header holds no name and password, not even broken ones.
var errNotBasic = errors.New("a name and a password, with a colon between them, are expected in a header of the scheme Basic")

// parseBasic takes a Basic Authorization header apart (RFC 7617).
func parseBasic(header string) (name, password string, err error) {
	scheme, encoded, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Basic") {
		return "", "", errNotBasic
	}
	encoded = strings.Trim(encoded, " ")
	text, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || encoded == "" {
		return "", "", errors.New("the credentials are no base64")
	}
	name, password, found := strings.Cut(string(text), ":")
	if !found {
		return "", "", errNotBasic
	}
	if name == "" {
		return "", "", errors.New("the credentials have no name before the colon")
	}
	return name, password, nil
}
