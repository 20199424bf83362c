package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"sync"

	"github.com/google/uuid"

	"example.com/life/actors/storage"
	"example.com/life/adapters/embedded"
	"example.com/life/events"
)

// Users looks after who may log in to the server of a store. A user is a stream of that store, so who was a user when is history
// like everything else:
//
//	$user-<name>   the user's present state is its newest event, of type $User; deleting the stream removes the user
//	$users         one event of type $User for each name ever used, holding the name: the list
//
// A password is stored as a salted hash with what it cost. A server that is running changes users through its own Users, whose service it
// offers to clients; the command line's are for a store that no server has open. Users that an EventStoreDB wrote, in a history that was
// imported, are users here too (users_imported.go).
type Users struct {
	store  *embedded.Store
	memory int        // KiB that the hash of a new password takes
	admins sync.Mutex // held while something is done that may leave no administrator
}

// User is who may log in. It belongs to the groups; "$admins" may do everything, "$ops" may manage consumer groups.
type User struct {
	Name     string   `json:"name"`
	FullName string   `json:"full_name,omitempty"`
	Groups   []string `json:"groups"`
	Disabled bool     `json:"disabled"` // may not log in

	changed events.Micros // when it became so
}

// The users that a new store gets, and the groups that the server knows.
const (
	adminUser   = "admin"
	opsUser     = "ops"
	adminsGroup = "$admins"
	opsGroup    = "$ops"
	everyone    = "$all" // in an ACL: whoever has logged in
)

const (
	usersStream   = events.Stream("$users")
	userPrefix    = "$user-"
	userKind      = events.Kind("$User")
	revisionsEnd  = events.Revision(math.MaxInt64)
	maxUserGroups = 64
)

// Why something cannot be done to a user.
var (
	ErrNoUser      = errors.New("there is no such user")
	ErrUserExists  = errors.New("there is a user of that name already; change the password, or choose another name")
	ErrInvalidUser = errors.New("no user can be like that")
	ErrLastAdmin   = errors.New("it is the last user of " + adminsGroup + " who can log in: add another one first")

	errNotUser = errors.New("the newest event of the stream is no user; add the user again")
)

// userRecord is a user as stored. Fields are added, never renamed.
type userRecord struct {
	Name     string   `json:"loginName"`
	FullName string   `json:"fullName,omitempty"`
	Groups   []string `json:"groups"`
	Disabled bool     `json:"disabled"`
	secret
}

// NewUsers returns the users of a store.
func NewUsers(store *embedded.Store) *Users { return &Users{store: store, memory: defaultMemory} }

// List returns all users in the order in which their names were first used.
func (u *Users) List(ctx context.Context) ([]User, error) {
	names, err := u.names(ctx)
	if err != nil {
		return nil, err
	}
	var list []User
	for _, name := range names {
		user, err := u.get(ctx, name)
		if errors.Is(err, ErrNoUser) {
			continue // removed, or never finished being added
		}
		if err != nil {
			return nil, err
		}
		list = append(list, user)
	}
	return list, nil
}

func (u *Users) get(ctx context.Context, name string) (User, error) {
	record, at, err := u.load(ctx, name)
	if err != nil {
		return User{}, err
	}
	return User{Name: record.Name, FullName: record.FullName, Groups: record.Groups, Disabled: record.Disabled, changed: at.time}, nil
}

// Add makes a user with a password. The name of a user who was removed may be used again.
func (u *Users) Add(ctx context.Context, user User, password string) error {
	if err := user.check(); err != nil {
		return err
	}
	hashed, err := newSecret(password, u.memory)
	if err != nil {
		return fmt.Errorf("add user %s: %w", user.Name, err)
	}
	// Listed first: if we die in between, the name is listed and nobody has it, and adding the user again does the rest.
	if err := u.enlist(ctx, user.Name); err != nil {
		return fmt.Errorf("add user %s: %w", user.Name, err)
	}
	record := userRecord{Name: user.Name, FullName: user.FullName, Groups: user.Groups, Disabled: user.Disabled, secret: hashed}
	expected := storage.ExpectNoStream
	if _, at, err := u.load(ctx, user.Name); errors.Is(err, errNotUser) {
		expected = storage.ExpectRevision(at.revision) // what is there says nothing of anybody
	}
	err = u.save(ctx, &record, expected)
	if conflict := new(storage.ConflictError); errors.As(err, &conflict) {
		return fmt.Errorf("add user %s: %w", user.Name, ErrUserExists)
	}
	return err
}

// SetPassword gives a user a new password. The old one is worth nothing from then on.
func (u *Users) SetPassword(ctx context.Context, name, password string) error {
	return u.change(ctx, name, func(r *userRecord) (err error) {
		r.secret, err = newSecret(password, u.memory)
		return err
	})
}

// Update gives a user another full name and other groups. The last administrator who can log in has to stay one.
func (u *Users) Update(ctx context.Context, user User) error {
	if err := user.check(); err != nil {
		return err
	}
	u.admins.Lock()
	defer u.admins.Unlock()
	if !slices.Contains(user.Groups, adminsGroup) {
		if err := u.keepAdministrator(ctx, user.Name); err != nil {
			return err
		}
	}
	return u.change(ctx, user.Name, func(r *userRecord) error { r.FullName, r.Groups = user.FullName, user.Groups; return nil })
}

// Disable keeps a user from logging in. The last administrator who can is refused.
func (u *Users) Disable(ctx context.Context, name string) error {
	u.admins.Lock()
	defer u.admins.Unlock()
	if err := u.keepAdministrator(ctx, name); err != nil {
		return err
	}
	return u.change(ctx, name, func(r *userRecord) error { r.Disabled = true; return nil })
}

// Enable lets a user log in again.
func (u *Users) Enable(ctx context.Context, name string) error {
	return u.change(ctx, name, func(r *userRecord) error { r.Disabled = false; return nil })
}

// Remove deletes a user. The last administrator who can log in is refused.
func (u *Users) Remove(ctx context.Context, name string) error {
	u.admins.Lock()
	defer u.admins.Unlock()
	if err := u.keepAdministrator(ctx, name); err != nil {
		return err
	}
	_, at, err := u.load(ctx, name)
	if err != nil {
		return err
	}
	if _, err := u.store.Delete(ctx, userStream(name), storage.ExpectRevision(at.revision)); err != nil {
		return fmt.Errorf("remove user %s: %w", name, err)
	}
	return nil
}

// check refuses what could be mistaken for something else: in a Basic header, as a group, in a file's name.
func (user *User) check() error {
	if !regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}$`).MatchString(user.Name) {
		return fmt.Errorf("%w: user %q: a name is up to 64 letters, digits and . _ @ + -, and begins with a letter or a digit", ErrInvalidUser, user.Name)
	}
	if len(user.Groups) > maxUserGroups {
		return fmt.Errorf("%w: user %s: %d groups are given, at most %d are allowed", ErrInvalidUser, user.Name, len(user.Groups), maxUserGroups)
	}
	for _, group := range user.Groups {
		if !regexp.MustCompile(`^[A-Za-z0-9$][A-Za-z0-9._@+-]{0,63}$`).MatchString(group) || group == everyone {
			return fmt.Errorf("%w: user %s: %q is no group: %s, %s, or up to 64 letters, digits and . _ @ + -", ErrInvalidUser, user.Name, group, adminsGroup, opsGroup)
		}
	}
	return nil
}

// keepAdministrator refuses to lose the only one who could undo it.
func (u *Users) keepAdministrator(ctx context.Context, name string) error {
	list, err := u.List(ctx)
	if err != nil {
		return err
	}
	able := func(user User) bool { return !user.Disabled && slices.Contains(user.Groups, adminsGroup) }
	others := slices.ContainsFunc(list, func(user User) bool { return user.Name != name && able(user) })
	is := slices.ContainsFunc(list, func(user User) bool { return user.Name == name && able(user) })
	if is && !others {
		return fmt.Errorf("user %s: %w", name, ErrLastAdmin)
	}
	return nil
}

func userStream(name string) events.Stream { return events.Stream(userPrefix + name) }

// userVersion is the event that says what a user is like.
type userVersion struct {
	revision events.Revision
	time     events.Micros
}

// load returns a user as it is now.
func (u *Users) load(ctx context.Context, name string) (userRecord, userVersion, error) {
	page, err := u.store.Read(ctx, userStream(name), revisionsEnd, storage.Backward, storage.Limit{Events: 1})
	if errors.Is(err, storage.ErrDeleted) || errors.Is(err, storage.ErrInvalidAppend) {
		return userRecord{}, userVersion{}, fmt.Errorf("%w: %q: %w", ErrNoUser, name, err)
	}
	if err != nil {
		return userRecord{}, userVersion{}, fmt.Errorf("read user %s: %w", name, err)
	}
	if len(page.Events) == 0 {
		return userRecord{}, userVersion{}, fmt.Errorf("%w: %q", ErrNoUser, name)
	}
	e := &page.Events[0]
	at := userVersion{revision: e.Revision, time: e.Time}
	record, err := decodeUser(e)
	if err == nil && record.Name != name {
		err = fmt.Errorf("event %s is about user %q", e.Ref(), record.Name)
	}
	if err != nil {
		return userRecord{}, at, fmt.Errorf("%w: %q: %w: %w", ErrNoUser, name, errNotUser, err)
	}
	return record, at, nil
}

// decodeUser reads an event of a user's stream. Its secret may be one that nothing matches: another server made it.
func decodeUser(e *events.Envelope) (userRecord, error) {
	var record userRecord
	switch e.Kind {
	case userKind:
	case userCreatedKind, userUpdatedKind:
		return decodeImported(e)
	default:
		return userRecord{}, fmt.Errorf("event %s is a %s and no %s", e.Ref(), e.Kind, userKind)
	}
	if err := json.Unmarshal(e.Data, &record); err != nil {
		return userRecord{}, fmt.Errorf("decode user %s: %w", e.Ref(), err)
	}
	return record, nil
}

// change stores a user's next state, unless someone else changed it meanwhile.
func (u *Users) change(ctx context.Context, name string, edit func(*userRecord) error) error {
	record, at, err := u.load(ctx, name)
	if err != nil {
		return err
	}
	if err := edit(&record); err != nil {
		return fmt.Errorf("change user %s: %w", name, err)
	}
	return u.save(ctx, &record, storage.ExpectRevision(at.revision))
}

func (u *Users) save(ctx context.Context, record *userRecord, expected storage.Expected) error {
	if record.Groups == nil {
		record.Groups = []string{}
	}
	return u.append(ctx, userStream(record.Name), expected, record)
}

// append stores one event of type $User.
func (u *Users) append(ctx context.Context, stream events.Stream, expected storage.Expected, value any) error {
	data, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("encode an event of %s: %w", stream, err)
	}
	event := events.Envelope{
		ID: uuid.New(), Kind: userKind, Version: 1, Time: storage.Now(), Data: data, Foreign: &events.Foreign{},
	}
	if _, err := u.store.Append(ctx, stream, expected, []events.Envelope{event}); err != nil {
		return fmt.Errorf("write to %s: %w", stream, err)
	}
	return nil
}

// names reads the list, without the repetitions that two writers at once may leave.
func (u *Users) names(ctx context.Context) ([]string, error) {
	var names []string
	seen := map[string]bool{}
	for next := events.Revision(0); ; {
		page, err := u.store.Read(ctx, usersStream, next, storage.Forward, storage.Limit{})
		if err != nil {
			return nil, fmt.Errorf("read the list of users: %w", err)
		}
		for i := range page.Events {
			if name := listed(&page.Events[i]); name != "" && !seen[name] {
				seen[name] = true
				names = append(names, name)
			}
		}
		if page.End || len(page.Events) == 0 {
			return names, nil
		}
		next = page.Events[len(page.Events)-1].Revision + 1
	}
}

// listed is the name that an event of the list adds to it: a JSON string, or the bare name, as EventStoreDB writes it. What is no name lists
// nobody.
func listed(e *events.Envelope) (name string) {
	data, contentType, err := dataOf(e)
	if err == nil && contentType != contentJSON {
		return string(data)
	}
	if err != nil || json.Unmarshal(data, &name) != nil {
		return ""
	}
	return name
}

// enlist puts a name on the list, once.
func (u *Users) enlist(ctx context.Context, name string) error {
	names, err := u.names(ctx)
	if err != nil || slices.Contains(names, name) {
		return err
	}
	return u.append(ctx, usersStream, storage.ExpectAny, name)
}
