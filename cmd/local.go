package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"example.com/life/actors"
	"example.com/life/actors/history"
	"example.com/life/actors/storage"
	"example.com/life/adapters/blobs"
	"example.com/life/adapters/declared"
	"example.com/life/adapters/embedded"
	"example.com/life/adapters/providers"
	"example.com/life/adapters/tools"
	"example.com/life/adapters/workspace"
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
	storeName     = "store"
	snapshotsName = "snapshots"
	blobsName     = "blobs"
	scratchName   = "scratch"
	forksName     = "forks"
)

// local is a host in this process, on stores that it opened.
type local struct {
	*actors.Host
	commandBus
	place     place
	journal   journal
	store     *embedded.Store // the journal, when it is embedded
	snapshots io.Closer       // the cache beside a journal that is elsewhere; nil: none
	blobs     *blobs.Store
}

// restingIdle is how long an agent stays in memory for a verb, which may work with one after the other.
const restingIdle = 10 * time.Second

// openLocal opens the stores and starts a host on them. A resting one leaves alone whom it is not asked about.
func (a *app) openLocal(ctx context.Context, resting bool) (*local, error) {
	models, err := providers.New(a.config.models)
	if err != nil {
		return nil, err
	}
	prices, err := providers.LoadPrices(a.config.get("prices"))
	if err != nil {
		return nil, err
	}
	at, idle := a.place(), restingIdle
	if !resting {
		at.patience = forever // a host may be started before its store
		idle = 0              // as long as hosts do
	}
	return openHost(ctx, at, actors.Config{
		Name: "life", Build: a.build.Version, Models: models, Prices: prices, Log: a.log, Where: where, OpeningCredit: a.config.credit, Resting: resting, Idle: idle,
		Projections: a.build.Projections, Declare: declared.Parse,
	})
}

// where compiles what life history --where is given.
func where(expression string) (history.EventFilter, error) {
	filter, err := declared.CompileFilter(expression)
	return history.EventFilter(filter), err
}

// openHost opens the stores of a place, fills in what comes from them, and starts the host.
func openHost(ctx context.Context, at place, c actors.Config) (*local, error) {
	l := &local{place: at}
	if err := l.open(ctx, c); err != nil {
		return nil, errors.Join(err, l.closeStores())
	}
	return l, nil
}

func (l *local) open(ctx context.Context, c actors.Config) (err error) {
	data := l.place.data
	if err := os.MkdirAll(filepath.Join(data, scratchName), 0o700); err != nil {
		return fmt.Errorf("create the data directory: %w; choose another one with --data or LIFE_DATA", err)
	}
	if l.journal, err = l.place.open(ctx, c.Log); err != nil {
		return err
	}
	l.commandBus = commandBus{l.journal}
	if l.blobs, err = blobs.Open(filepath.Join(data, blobsName)); err != nil {
		return err
	}
	if c.Tools, err = tools.New(tools.Config{Blobs: l.blobs, Scratch: filepath.Join(data, scratchName)}); err != nil {
		return err
	}
	if limits := l.place.record.limits; !l.place.record.off {
		limits.Blobs, limits.Own = l.blobs, data
		if c.Files, err = workspace.New(limits); err != nil {
			return err
		}
	}
	if c.Snapshots, err = l.openSnapshots(c.Log); err != nil {
		return err
	}
	c.Journal, c.Blobs, c.Forks = l.journal, l.blobs, filepath.Join(data, forksName)
	l.Host, err = actors.New(ctx, c)
	return err
}

// openSnapshots returns those of the embedded store, else the cache in the data directory; nil when another process has it.
func (l *local) openSnapshots(log *slog.Logger) (storage.Snapshots, error) {
	if store, ok := l.journal.(*embedded.Store); ok {
		l.store = store
		return store, nil
	}
	cache, err := embedded.OpenSnapshots(embedded.Config{Dir: filepath.Join(l.place.data, snapshotsName), Log: log})
	var held *embedded.Held
	switch {
	case errors.As(err, &held):
		return nil, nil //nolint:nilnil // the host reads histories from their beginning
	case err != nil:
		return nil, err
	}
	l.snapshots = cache
	return cache, nil
}

// Close stops the host and then its stores. Calls that cannot be repeated get until ctx ends to finish.
func (l *local) Close(ctx context.Context) error {
	return errors.Join(l.Host.Close(ctx), l.closeStores())
}

func (l *local) closeStores() error {
	var errs []error
	if l.snapshots != nil {
		errs = append(errs, l.snapshots.Close())
	}
	if l.journal != nil {
		errs = append(errs, l.journal.Close())
	}
	return errors.Join(errs...)
}
