package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"example.com/life/actors/storage"
	"example.com/life/adapters/embedded"
	"example.com/life/events"
)

// UsersConfig is what the operator says about who may log in. An insecure server ignores it.
type UsersConfig struct {
	AdminPassword string // of the user admin, in $admins, whom a store gets when a server first opens it; not used after that
	OpsPassword   string // of the user ops, in $ops, likewise; empty: no such user is made
	Anonymous     bool   // callers without credentials have the role "$all", as if they had logged in
	Memory        int    // KiB that the hash of a new password takes; default 19 MiB
}

// authority is the guard that knows users and access control lists.
//
// Who calls is said by a Basic header, or else by the common name of a verified client certificate; without either it is the
// anonymous caller. What a caller may do to a stream is said by the "$acl" of the stream's metadata, for what that leaves open by the
// store's "$settings", and then by the defaults: streams of users are everybody's, system streams and "$all" are for $admins, who may do
// everything anyway. Nothing of it is asked of the store twice while it stays the same.
type authority struct {
	store     *embedded.Store
	users     *Users
	logins    *logins
	insecure  bool
	anonymous bool
	log       *slog.Logger

	settings        atomic.Pointer[streamDefaults]
	settingsChanges atomic.Uint64 // what was read of $settings before has to be read again

	mu      sync.Mutex
	permits map[*permit]struct{}
}

// Streams with a meaning to the guard.
const (
	allStream      = events.Stream("$all") // everything: what rights to it are granted by; it is no stream itself
	settingsStream = events.Stream("$settings")
	metaPrefix     = "$$" // begins the name of the stream that holds another's metadata
)

// newAuthority makes the users that a new store needs: without an administrator nobody could ever log in.
func newAuthority(ctx context.Context, config Config) (*authority, error) {
	a := &authority{
		store: config.Store, users: NewUsers(config.Store), insecure: config.Insecure, anonymous: config.Users.Anonymous, log: config.Log,
		permits: map[*permit]struct{}{},
	}
	if a.insecure {
		// There are no users, and yet there is a list of them: clients wait for it to know that a server is ready.
		err := a.users.enlist(ctx, adminUser)
		if errors.Is(err, storage.ErrReadOnly) {
			err = nil // clients that look for users go without; what is stored can be read
		}
		return a, err
	}
	if memory := config.Users.Memory; memory != 0 {
		if memory < minMemory || memory > maxMemory {
			return nil, fmt.Errorf("make the protocol server: %d KiB for the hashes of passwords: choose %d to %d", memory, minMemory, maxMemory)
		}
		a.users.memory = memory
	}
	if err := a.ensure(ctx, User{Name: adminUser, FullName: "Event Store Administrator", Groups: []string{adminsGroup}}, config.Users.AdminPassword); err != nil {
		return nil, err
	}
	if config.Users.OpsPassword != "" {
		if err := a.ensure(ctx, User{Name: opsUser, FullName: "Event Store Operations", Groups: []string{opsGroup}}, config.Users.OpsPassword); err != nil {
			return nil, err
		}
	}
	a.logins = newLogins(a.users)
	return a, a.users.report(ctx, a.log)
}

// ensure makes a user of a new store, unless there is or was one: who was removed stays removed.
func (a *authority) ensure(ctx context.Context, user User, password string) error {
	_, _, err := a.users.load(ctx, user.Name)
	switch {
	case err == nil:
		return a.users.enlist(ctx, user.Name) // who was imported need not be on the list
	case !errors.Is(err, ErrNoUser):
		return err
	case errors.Is(err, storage.ErrDeleted): // removed for good
		return nil
	}
	broken := errors.Is(err, errNotUser)
	meta, err := a.store.Metadata(ctx, userStream(user.Name))
	switch {
	case err != nil:
		return fmt.Errorf("look for user %s: %w", user.Name, err)
	case meta.Deleted(), broken && password == "": // of the latter the report tells
		return nil
	case password == "":
		return fmt.Errorf("the store has no user %s yet, and nobody could log in: write a first password for it into a file that only you can "+
			"read and name that with --%s-password-file; or serve with --insecure, where everyone may do everything", user.Name, user.Name)
	}
	return a.users.Add(ctx, user, password)
}

// authenticate implements guard. A header that is no Basic one, or holds no colon, is no credentials at all, as for EventStoreDB.
func (a *authority) authenticate(ctx context.Context) (caller, error) {
	if a.insecure {
		return caller{system: true}, nil
	}
	switch given := metadata.ValueFromIncomingContext(ctx, "authorization"); len(given) {
	case 0:
		return a.certified(ctx)
	case 1:
		who, err := a.logins.check(ctx, given[0], addressOf(ctx))
		if errors.Is(err, errNotBasic) {
			return a.certified(ctx)
		}
		return who, err
	}
	return caller{}, fail(codes.Unauthenticated, "credentials are given more than once")
}

// addressOf is the host that a call came from.
func addressOf(ctx context.Context) string {
	from, ok := peer.FromContext(ctx)
	if !ok || from.Addr == nil {
		return ""
	}
	if host, _, err := net.SplitHostPort(from.Addr.String()); err == nil {
		return host
	}
	return from.Addr.String()
}

// certified finds out whose certificate the connection came with; without one it is the anonymous caller's.
func (a *authority) certified(ctx context.Context) (caller, error) {
	nobody := caller{stranger: !a.anonymous}
	from, ok := peer.FromContext(ctx)
	if !ok {
		return nobody, nil
	}
	secure, ok := from.AuthInfo.(credentials.TLSInfo)
	if !ok || len(secure.State.VerifiedChains) == 0 {
		return nobody, nil
	}
	name := secure.State.VerifiedChains[0][0].Subject.CommonName
	who, err := a.logins.certificate(ctx, name)
	if err != nil || who.name != "" {
		return who, err
	}
	return caller{}, fail(codes.Unauthenticated, fmt.Sprintf("the certificate is of %q, who is no user or is disabled", name))
}

// operator implements guard.
func (a *authority) operator(who caller) error {
	if who.system || who.is(adminsGroup) || who.is(opsGroup) {
		return nil
	}
	return accessDenied()
}

// is reports whether the caller has a role: a group, or the own name.
func (c *caller) is(role string) bool {
	return c.name != "" && (c.name == role || slices.Contains(c.groups, role))
}

// allow implements guard.
func (a *authority) allow(ctx context.Context, who caller, what action, stream events.Stream) error {
	stream, what, ok := subject(stream, what)
	switch {
	case !ok:
		return accessDenied()
	case who.system || who.is(adminsGroup):
		return nil
	case who.name == "" && !a.anonymous:
		return accessDenied()
	}
	roles, err := a.roles(ctx, what, stream)
	if err != nil {
		return err
	}
	for _, role := range roles {
		if role == everyone || who.is(role) {
			return nil
		}
	}
	return accessDenied()
}

// subject returns which right of which stream an action takes: what is done to a metastream is done to the metadata of the stream that
// it is about. What nobody may do is not ok: delete a metastream, or write to or delete everything.
func subject(stream events.Stream, what action) (events.Stream, action, bool) {
	if stream == allStream && what != toRead && what != toReadMeta && what != toWriteMeta {
		return stream, what, false
	}
	of, meta := strings.CutPrefix(string(stream), metaPrefix)
	if !meta {
		return stream, what, true
	}
	switch what {
	case toRead, toReadMeta:
		return events.Stream(of), toReadMeta, true
	case toWrite, toWriteMeta:
		return events.Stream(of), toWriteMeta, true
	case toDelete:
	}
	return stream, what, false
}

// roles returns who may do it: what the stream's own list says, or else the defaults.
func (a *authority) roles(ctx context.Context, what action, stream events.Stream) ([]string, error) {
	meta, err := a.store.Metadata(ctx, stream) // those of a stream that was ended for good say nothing any more
	if err != nil {
		return nil, storeFailure(err, stream)
	}
	if roles := rolesFor(meta.ACL, what); roles != nil {
		return roles, nil
	}
	defaults, err := a.defaults(ctx)
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(string(stream), "$") {
		if roles := rolesFor(defaults.system, what); roles != nil {
			return roles, nil
		}
		return []string{adminsGroup}, nil
	}
	if roles := rolesFor(defaults.user, what); roles != nil {
		return roles, nil
	}
	return []string{everyone}, nil
}

// rolesFor is the part of a list that is about an action; nil when it says nothing.
func rolesFor(acl *embedded.ACL, what action) []string {
	if acl == nil {
		return nil
	}
	switch what {
	case toRead:
		return acl.Read
	case toWrite:
		return acl.Write
	case toDelete:
		return acl.Delete
	case toReadMeta:
		return acl.MetaRead
	case toWriteMeta:
		return acl.MetaWrite
	}
	return nil
}
