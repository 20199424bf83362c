package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"example.com/life/actors"
	"example.com/life/adapters/api"
	"example.com/life/adapters/blobs"
	"example.com/life/adapters/embedded"
	"example.com/life/adapters/providers"
	"example.com/life/adapters/tools"
	"example.com/life/events"
)

// The data directory holds
//
//	store/       the journal and its snapshots
//	blobs/       large texts
//	scratch/     what commands keep outside their workspaces
//	serve.json   where the running life serve is
//	config.yaml  configuration, if there is any
const (
	storeName   = "store"
	blobsName   = "blobs"
	scratchName = "scratch"
)

// local is a host in this process, on a data directory that it holds.
type local struct {
	*actors.Host
	store *embedded.Store
	blobs *blobs.Store
}

// openLocal opens the data directory and starts a host on it. A resting one leaves alone whom it is not asked about.
func (a *app) openLocal(ctx context.Context, resting bool) (*local, error) {
	models, err := providers.New(a.config.models)
	if err != nil {
		return nil, err
	}
	prices, err := providers.LoadPrices(a.config.get("prices"))
	if err != nil {
		return nil, err
	}
	return openHost(ctx, a.config.get("data"), actors.Config{
		Name: "life", Models: models, Prices: prices, Log: a.log, OpeningCredit: a.config.credit, Resting: resting,
	})
}

// openHost opens the stores below a directory, fills in what comes from them, and starts the host.
func openHost(ctx context.Context, data string, c actors.Config) (*local, error) {
	l := &local{}
	if err := l.open(ctx, data, c); err != nil {
		return nil, errors.Join(err, l.closeStore())
	}
	return l, nil
}

func (l *local) open(ctx context.Context, data string, c actors.Config) (err error) {
	if err := os.MkdirAll(filepath.Join(data, scratchName), 0o700); err != nil {
		return fmt.Errorf("make the data directory: %w; --data or LIFE_DATA names another one", err)
	}
	if l.store, err = embedded.Open(embedded.Config{Dir: filepath.Join(data, storeName), Log: c.Log}); err != nil {
		return err
	}
	// From here on the directory is ours: what a crash left unfinished beside the store may be removed.
	if l.blobs, err = blobs.Open(filepath.Join(data, blobsName)); err != nil {
		return err
	}
	if c.Tools, err = tools.New(tools.Config{Blobs: l.blobs, Scratch: filepath.Join(data, scratchName)}); err != nil {
		return err
	}
	c.Journal, c.Snapshots, c.Blobs = l.store, l.store, l.blobs
	l.Host, err = actors.New(ctx, c)
	return err
}

// Close stops the host and then its store. Calls that cannot be repeated get until ctx ends to finish.
func (l *local) Close(ctx context.Context) error {
	return errors.Join(l.Host.Close(ctx), l.closeStore())
}

func (l *local) closeStore() error {
	if l.store == nil {
		return nil
	}
	return l.store.Close()
}

// CheckStore reads everything that is stored and says what is damaged.
func (l *local) CheckStore(ctx context.Context, progress func(checked, total int64)) (api.StoreReport, error) {
	tell := func(p embedded.Progress) {
		if progress != nil {
			progress(int64(p.Events), int64(p.Total))
		}
	}
	journal, err := l.store.Check(ctx, tell)
	if err != nil {
		return api.StoreReport{}, err
	}
	kept, err := l.blobs.Check(ctx, nil)
	if err != nil {
		return api.StoreReport{}, err
	}
	missing, err := l.missingBlobs(ctx)
	if err != nil {
		return api.StoreReport{}, err
	}
	report := api.StoreReport{Events: int64(journal.Events), Streams: journal.Streams, More: journal.More, Damage: []api.StoreDamage{}}
	for _, d := range journal.Damage {
		report.Damage = append(report.Damage, api.StoreDamage{Stream: d.Stream, Revision: d.Revision, Problem: d.String()})
	}
	for _, d := range kept.Damaged {
		report.Damage = append(report.Damage, api.StoreDamage{Revision: events.NoRevision, Problem: "blob " + d.Path + ": " + d.Detail})
	}
	report.Damage = append(report.Damage, missing...)
	return report, nil
}

// missingBlobs names the blobs that history refers to and that are not there. What is there was read by the blobs' own check.
func (l *local) missingBlobs(ctx context.Context) ([]api.StoreDamage, error) {
	var missing []api.StoreDamage
	kinds := actors.Filter{Kinds: []string{
		string(events.MessageReceived{}.Kind()), string(events.ModelReplied{}.Kind()), string(events.ToolReturned{}.Kind()),
	}}
	for next := events.Position(1); ; {
		page, err := l.store.ReadAll(ctx, next, actors.Forward, kinds, actors.Limit{})
		if errors.Is(err, actors.ErrCorrupt) {
			return missing, nil // the journal's check has said so
		}
		if err != nil {
			return nil, fmt.Errorf("look for missing blobs: %w", err)
		}
		for i := range page.Events {
			e := &page.Events[i]
			for _, ref := range blobsOf(e) {
				blob, err := l.blobs.Open(ctx, ref)
				if err == nil {
					err = blob.Close()
				}
				if err != nil {
					missing = append(missing, api.StoreDamage{Stream: e.Stream, Revision: e.Revision, Problem: fmt.Sprintf("%s@%d: %v", e.Stream, e.Revision, err)})
				}
			}
		}
		if page.End {
			return missing, nil
		}
		next = page.Next
	}
}

// blobsOf lists what an event refers to.
func blobsOf(e *events.Envelope) []events.BlobRef {
	event, err := e.Event()
	if err != nil {
		return nil // verify says what cannot be read
	}
	var refs []*events.BlobRef
	switch event := event.(type) {
	case events.MessageReceived:
		refs = append(refs, event.Blob)
	case events.ModelReplied:
		refs = append(refs, event.Blob)
	case events.ToolReturned:
		refs = append(refs, event.Blob, event.Full)
	}
	var there []events.BlobRef
	for _, ref := range refs {
		if ref != nil {
			there = append(there, *ref)
		}
	}
	return there
}
