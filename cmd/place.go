package cmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"example.com/life/actors/storage"
	"example.com/life/adapters/embedded"
	"example.com/life/adapters/eventstore"
)

// inData is the value of the setting store that stands for the embedded store of the data directory.
const inData = "embedded"

// The schemes of EventStoreDB's connection strings.
const (
	schemeDirect   = "esdb://"
	schemeDiscover = "esdb+discover://"
)

// place is where events are stored: in a data directory, or at an EventStoreDB.
type place struct {
	data        string        // the data directory; its store is used when there is no address
	address     string        // of EventStoreDB, as it was given; it may hold a password, so print String instead
	credentials string        // file with user:password; empty: what the address says
	patience    time.Duration // with an EventStoreDB that is away; 0: connectTime, negative: without end
	say         io.Writer     // hears that it is away
	record      record        // of workspaces, in the data directory
}

// journal is an open store as the verbs use it, wherever it is.
type journal interface {
	storage.Journal
	io.Closer
}

// isAddress tells the address of an EventStoreDB from everything else.
func isAddress(text string) bool {
	return strings.HasPrefix(text, schemeDirect) || strings.HasPrefix(text, schemeDiscover)
}

// place is the one that the settings name, for a verb that opens it.
func (a *app) place() place {
	p := a.config.place()
	p.say = a.errs
	return p
}

// place is the one that the settings name.
func (c *config) place() place {
	p := place{data: c.get("data"), credentials: c.get("store-credentials-file"), record: c.record}
	if store := c.get("store"); isAddress(store) {
		p.address = store
	}
	return p
}

// storeName says where events are, without who asks: processes compare it.
func (c *config) storeName() string {
	p := c.place()
	if p.embedded() {
		return inData
	}
	scheme, rest, _ := strings.Cut(p.address, "://")
	return scheme + "://" + rest[userEnd(rest):]
}

// embedded reports whether the store is a directory, which one process at a time can open.
func (p place) embedded() bool { return p.address == "" }

// String names the place, without any password.
func (p place) String() string {
	if p.embedded() {
		return p.data
	}
	return masked(p.address)
}

// open opens the store. What it returns is Closed by the caller.
func (p place) open(ctx context.Context, log *slog.Logger) (journal, error) {
	if !p.embedded() {
		opened, err := p.connect(ctx, log)
		if err != nil {
			return nil, err // and no interface that holds a nil pointer
		}
		return opened, nil
	}
	store, err := embedded.Open(embedded.Config{Dir: filepath.Join(p.data, storeName), Log: log})
	if err != nil {
		return nil, err
	}
	return store, nil
}

// connect opens the EventStoreDB at the address. One that is away is waited for, as long as the place's patience lasts.
func (p place) connect(ctx context.Context, log *slog.Logger) (*watched, error) {
	l := &lookout{to: p.say, store: p.String(), limit: max(cmp.Or(p.patience, connectTime), 0)}
	config := eventstore.Config{Connection: p.address, Log: log}
	if p.say != nil {
		config.Away = l.told
	}
	if p.credentials != "" {
		text, err := readSecret("the store's credentials", p.credentials)
		if err != nil {
			return nil, err
		}
		var ok bool
		if config.Username, config.Password, ok = strings.Cut(text, ":"); !ok || strings.ContainsAny(text, "\r\n") {
			return nil, fmt.Errorf("read the store's credentials: %s must hold one line, user:password", p.credentials)
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
	return &watched{opened, l}, nil
}

// checkAddress refuses an address whose credentials contradict others, or that everyone on this machine can read.
func (p place) checkAddress(onCommandLine bool) error {
	_, rest, _ := strings.Cut(p.address, "://")
	given := userEnd(rest) > 0
	switch {
	case p.embedded():
		return nil
	case given && p.credentials != "":
		return errors.New("there are credentials both in the address of the store and in a file: remove one of them")
	case given && onCommandLine:
		return errors.New("the address of the store holds a password, and every user of this machine can see command lines: " +
			"put the address into LIFE_STORE or the configuration file, or user:password into a file and name that with --store-credentials-file")
	}
	return nil
}

// masked is an address as it may be shown. It rather hides too much than too little.
func masked(address string) string {
	begin := 0
	if _, rest, ok := strings.Cut(address, "://"); ok {
		begin = len(address) - len(rest)
	}
	end := begin + userEnd(address[begin:])
	if end == begin {
		return address
	}
	user, _, hasPassword := strings.Cut(address[begin:end-1], ":")
	if hasPassword {
		user += ":***"
	}
	return address[:begin] + user + "@" + address[end:]
}

// userEnd is where the credentials of an address end that is given without its scheme, with their "@"; 0 when there are none.
// Somebody may have put a password there with characters that do not belong into an address.
func userEnd(rest string) int { return strings.LastIndexByte(rest, '@') + 1 }
