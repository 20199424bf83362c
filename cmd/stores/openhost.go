// Package stores opens what a command line names: a data directory or the address of an EventStoreDB ([Location]), its stores, and a
// host on them ([OpenHost]). It reads whole stores ([Everything]) and checks them ([Local.CheckStore]).
package stores

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"

	"example.com/life/actors"
	"example.com/life/actors/storage"
	"example.com/life/adapters/blobs"
	"example.com/life/adapters/datadir"
	"example.com/life/adapters/embedded"
	"example.com/life/adapters/ignore"
	"example.com/life/adapters/mcp"
	"example.com/life/adapters/permission"
	"example.com/life/adapters/sandbox"
	"example.com/life/adapters/skills"
	"example.com/life/adapters/tools"
	"example.com/life/adapters/workspace"
	"example.com/life/events"
)

// The data directory holds
//
//	store/       the embedded journal and its snapshots
//	snapshots/   the cache of snapshots, when the journal is elsewhere
//	blobs/       large texts, and the files of workspaces
//	scratch/     what commands keep outside their workspaces
//	forks/       the workspaces of forks
//	serve.json   where the running life serve is
//	config.yaml  configuration, if there is any
//
// One process at a time has the embedded store. When events are at EventStoreDB several may use one data directory: blobs are
// made for that, and of the snapshots one process has the cache and the others go without. Hosts on several machines that share
// one EventStoreDB have to share the directory blobs too.
const (
	StoreName     = "store"
	SnapshotsName = "snapshots"
	BlobsName     = "blobs"
	scratchName   = "scratch"
	forksName     = "forks"
)

// Local is a host in this process, on stores that it opened.
type Local struct {
	*actors.Host
	Bus
	place     Location
	Journal   Journal
	Store     *embedded.Store // the journal, when it is embedded
	snapshots io.Closer       // the cache beside a journal that is elsewhere; nil: none
	Blobs     *blobs.Store
	commands  *sandbox.Sandbox
	servers   *mcp.Client   // nil: there are none
	masker    actors.Masker // nil: nothing is masked
	peer      *peer         // nil: the host is the only one
}

// OpenHost opens the stores of a place, fills in what comes from them, and starts the host.
func OpenHost(ctx context.Context, at Location, c actors.Config) (*Local, error) {
	l := &Local{place: at}
	if err := l.open(ctx, c); err != nil {
		return nil, errors.Join(err, l.closeStores())
	}
	return l, nil
}

func (l *Local) open(ctx context.Context, c actors.Config) (err error) {
	data := l.place.Data
	if err := os.MkdirAll(filepath.Join(data, scratchName), 0o700); err != nil && !OnlyRead(err) {
		return fmt.Errorf("create the data directory: %w; choose another one with --data or LIFE_DATA", err)
	}
	if l.Journal, err = l.place.Open(ctx, c.Log); err != nil {
		return err
	}
	l.Bus, l.masker = Bus{Journal: l.Journal, Masker: c.Masker}, c.Masker
	if l.Blobs, err = blobs.Open(filepath.Join(data, BlobsName)); err != nil {
		return err
	}
	own, rules := datadir.New(data, forksName), ignore.New(l.place.Ignore)
	if l.commands, err = l.newCommands(ctx, c.Log); err != nil {
		return err
	}
	home, err := os.UserHomeDir()
	if err != nil {
		home = "" // a service may have none: then nobody has skills of their own
	}
	library := skills.NewLibrary(home, c.Log)
	c.Skills = library
	if c.Tools, err = tools.New(tools.Config{
		Blobs: l.Blobs, Commands: l.commands, Scratch: filepath.Join(data, scratchName), Own: own, Ignore: rules, Policy: l.place.Policy, Network: l.place.Sandbox.Network, Skills: library,
	}); err != nil {
		return err
	}
	if len(l.place.Servers) > 0 {
		l.servers = mcp.New(ctx, mcp.Config{Servers: l.place.Servers, Commands: l.commands, Blobs: l.Blobs, Scratch: filepath.Join(data, scratchName), Version: c.Build, Log: c.Log})
		c.Servers = l.servers
	}
	if l.place.Permissions != nil {
		judging := *l.place.Permissions
		judging.Level = func(ctx context.Context) string { return l.commands.Probe(ctx).Level.String() }
		c.Permissions = permission.New(judging)
	}
	if limits := l.place.Files; !l.place.NoFiles {
		limits.Blobs, limits.Own, limits.Ignore, limits.Mask = l.Blobs, own, rules, maskFiles(c.Masker)
		if c.Masker != nil {
			limits.Marked = func(text string) bool { return c.Masker.Marked(events.MaskShapes, text) }
		}
		if c.Files, err = workspace.New(limits); err != nil {
			return err
		}
	}
	if c.Snapshots, err = l.openSnapshots(c.Log); err != nil {
		return err
	}
	c.Journal, c.Blobs, c.Forks = l.Journal, l.Blobs, filepath.Join(data, forksName)
	if err := l.join(ctx, &c); err != nil {
		return err
	}
	if l.Host, err = actors.New(ctx, c); err == nil {
		l.peer.started(l.Host)
	}
	return err
}

// newCommands is what runs commands. A server finds out now what confines them here, others when there is one to run.
func (l *Local) newCommands(ctx context.Context, log *slog.Logger) (*sandbox.Sandbox, error) {
	config := l.place.Sandbox
	config.Log, config.Hidden = log, append(config.Hidden, l.place.Data)
	commands, err := sandbox.New(config)
	if err == nil && l.place.Server {
		commands.Probe(ctx)
	}
	return commands, err
}

// maskFiles masks the files of workspaces, which belong to no one agent, at the level that most have. In what is no text only what the host knows is looked for.
func maskFiles(masker actors.Masker) workspace.Mask {
	if masker == nil {
		return nil
	}
	return func(source io.Reader, text bool) (io.Reader, func() []events.Masked) {
		level := events.MaskShapes
		if !text {
			level = events.MaskKnown
		}
		reader := masker.Reader(level, source)
		return reader, reader.Hits
	}
}

// openSnapshots returns those of the embedded store, else the cache in the data directory; nil when another process has it.
func (l *Local) openSnapshots(log *slog.Logger) (storage.Snapshots, error) {
	if store, ok := l.Journal.(*embedded.Store); ok {
		l.Store = store
		return store, nil
	}
	cache, err := embedded.OpenSnapshots(embedded.Config{Dir: filepath.Join(l.place.Data, SnapshotsName), Log: log})
	var held *embedded.HeldError
	switch {
	case errors.As(err, &held):
		return nil, nil //nolint:nilnil // the host reads histories from their beginning
	case OnlyRead(err):
		log.Warn("the cache of snapshots cannot be written: histories are read from their beginning", "error", err)
		return nil, nil //nolint:nilnil // as above
	case err != nil:
		return nil, err
	}
	l.snapshots = cache
	return cache, nil
}

// OnlyRead reports an error that says that nothing can be written in the data directory now. What is there is read all the same; whoever writes is
// told why it cannot be. A directory that is not there cannot be read either, and its store says so.
func OnlyRead(err error) bool {
	return errors.Is(err, storage.ErrFull) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EROFS)
}

// Close stops the host and then its stores. Calls that cannot be repeated get until ctx ends to finish.
func (l *Local) Close(ctx context.Context) error {
	return errors.Join(l.Host.Close(ctx), l.closeStores())
}

func (l *Local) closeStores() error {
	var errs []error
	l.peer.close()
	if l.servers != nil {
		l.servers.Close()
	}
	if l.commands != nil {
		l.commands.Close()
	}
	if l.snapshots != nil {
		errs = append(errs, l.snapshots.Close())
	}
	if l.Journal != nil {
		errs = append(errs, l.Journal.Close())
	}
	return errors.Join(errs...)
}
