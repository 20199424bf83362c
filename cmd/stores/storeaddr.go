package stores

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"example.com/life/actors/storage"
	"example.com/life/adapters/embedded"
	"example.com/life/adapters/eventstore"
	"example.com/life/adapters/fspolicy"
	"example.com/life/adapters/mcp"
	"example.com/life/adapters/permission"
	"example.com/life/adapters/sandbox"
	"example.com/life/adapters/workspace"
)

// InData is the value of the setting store that stands for the embedded store of the data directory.
const InData = "embedded"

// The schemes of EventStoreDB's connection strings.
const (
	SchemeDirect   = "esdb://"
	schemeDiscover = "esdb+discover://"
)

// Location is where events are stored: in a data directory, or at an EventStoreDB.
type Location struct {
	Data        string             // the data directory; its store is used when there is no address
	Address     string             // of EventStoreDB, as it was given; it may hold a password, so print String instead
	Credentials string             // file with user:password; empty: what the address says
	Patience    time.Duration      // with an EventStoreDB that is away; 0: connectTime, negative: without end
	Say         io.Writer          // hears that it is away
	Files       workspace.Config   // limits of what is recorded of workspaces, in the data directory
	NoFiles     bool               // record nothing of workspaces
	Ignore      []string           // names of the files that say what of a workspace is not searched or recorded
	Sandbox     sandbox.Config     // how commands are run
	Policy      *fspolicy.Policy   // of what is protected in workspaces
	Permissions *permission.Config // how calls are judged; nil: by the agents' modes and policies alone
	Servers     []mcp.Server       // MCP servers that agents can be granted the tools of
	Server      bool               // it stays open until it is stopped
	Filling     bool               // it may hold half a copy, or half an import: to finish it
	Cluster     *Cluster           // that the host joins; nil: it is the only one
}

// Forever is patience without end.
const Forever = -1

const (
	connectTime = 20 * time.Second // EventStoreDB, to answer: it may be starting, or choosing a leader
	sayAfter    = time.Second      // EventStoreDB, before it is said that it is looked for
)

// Journal is an open store as the verbs use it, wherever it is.
type Journal interface {
	storage.Journal
	io.Closer
}

// IsAddress tells the address of an EventStoreDB from everything else.
func IsAddress(text string) bool {
	return strings.HasPrefix(text, SchemeDirect) || strings.HasPrefix(text, schemeDiscover)
}

// Embedded reports whether the store is a directory, which one process at a time can open.
func (p Location) Embedded() bool { return p.Address == "" }

// String names the place, without any password.
func (p Location) String() string {
	if p.Embedded() {
		return p.Data
	}
	return Masked(p.Address)
}

// Open opens the store. What it returns is Closed by the caller.
func (p Location) Open(ctx context.Context, log *slog.Logger) (Journal, error) {
	if !p.Embedded() {
		opened, err := p.Connect(ctx, log)
		if err != nil {
			return nil, err // and no interface that holds a nil pointer
		}
		if p.Filling {
			return opened, nil
		}
		half, err := HalfCopied(ctx, opened)
		if err == nil && half != "" {
			err = &storage.HalfError{Store: p.String(), What: "a copy", Finish: half}
		}
		if err != nil {
			return nil, errors.Join(err, opened.Close())
		}
		return opened, nil
	}
	store, err := embedded.Open(embedded.Config{Dir: filepath.Join(p.Data, StoreName), Filling: p.Filling, Server: p.Server, Log: log})
	if err != nil {
		return nil, err
	}
	return store, nil
}

// Connect opens the EventStoreDB at the address. One that is away is waited for, as long as the place's patience lasts.
func (p Location) Connect(ctx context.Context, log *slog.Logger) (*Remote, error) {
	l := &lookout{to: p.Say, store: p.String(), limit: max(cmp.Or(p.Patience, connectTime), 0)}
	config := eventstore.Config{Connection: p.Address, Log: log}
	if p.Say != nil {
		config.Away = l.told
	}
	if p.Credentials != "" {
		text, err := ReadSecret("the store's credentials", p.Credentials)
		if err != nil {
			return nil, err
		}
		var ok bool
		if config.Username, config.Password, ok = strings.Cut(text, ":"); !ok || strings.ContainsAny(text, "\r\n") {
			return nil, fmt.Errorf("read the store's credentials: %s must hold one line, user:password", p.Credentials)
		}
	}
	if l.limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, l.limit)
		defer cancel()
	}
	opened, err := eventstore.Open(ctx, config)
	if err != nil {
		l.end()
		return nil, fmt.Errorf("%w\n"+
			"  --store or LIFE_STORE sets the address of the store, --store-credentials-file the user", err)
	}
	l.opened()
	return &Remote{opened, l}, nil
}

// CheckAddress refuses an address whose credentials contradict others, or that everyone on this machine can read.
func (p Location) CheckAddress(onCommandLine bool) error {
	_, rest, _ := strings.Cut(p.Address, "://")
	given := UserEnd(rest) > 0
	switch {
	case p.Embedded():
		return nil
	case given && p.Credentials != "":
		return errors.New("there are credentials both in the address of the store and in a file: remove one of them")
	case given && onCommandLine:
		return errors.New("the address of the store holds a password, and every user of this machine can see command lines: " +
			"put the address into LIFE_STORE or the configuration file, or user:password into a file and name that with --store-credentials-file")
	}
	return nil
}

// Masked is an address as it may be shown. It rather hides too much than too little.
func Masked(address string) string {
	begin := 0
	if _, rest, ok := strings.Cut(address, "://"); ok {
		begin = len(address) - len(rest)
	}
	end := begin + UserEnd(address[begin:])
	if end == begin {
		return address
	}
	user, _, hasPassword := strings.Cut(address[begin:end-1], ":")
	if hasPassword {
		user += ":***"
	}
	return address[:begin] + user + "@" + address[end:]
}

// UserEnd is where the credentials of an address end that is given without its scheme, with their "@"; 0 when there are none.
// Somebody may have put a password there with characters that do not belong into an address.
func UserEnd(rest string) int { return strings.LastIndexByte(rest, '@') + 1 }

// ReadSecret reads a file that holds one secret and nothing else.
func ReadSecret(what, path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("read %s: %w", what, err)
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, 4<<10))
	if err != nil {
		return "", fmt.Errorf("read %s: %w", what, err)
	}
	secret := strings.TrimSpace(string(text))
	if secret == "" {
		return "", fmt.Errorf("read %s: %s is empty", what, path)
	}
	return secret, nil
}
