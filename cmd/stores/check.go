package stores

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"example.com/life/actors/storage"
	"example.com/life/adapters/api"
	"example.com/life/adapters/embedded"
	"example.com/life/events"
)

// CheckStore reads everything that is stored and says what is damaged.
func (l *Local) CheckStore(ctx context.Context, progress func(checked, total int64)) (api.StoreReport, error) {
	if progress == nil {
		progress = func(int64, int64) {}
	}
	check := l.checkEmbedded
	if l.Store == nil {
		check = l.checkRemote
	}
	report, err := check(ctx, progress)
	if err != nil {
		return api.StoreReport{}, err
	}
	kept, err := l.Blobs.Check(ctx, nil)
	if err != nil {
		return api.StoreReport{}, err
	}
	for _, d := range kept.Damaged {
		report.Damage = append(report.Damage, api.StoreDamage{Revision: events.NoRevision, Problem: "blob " + d.Path + ": " + d.Detail})
	}
	missing, err := l.missingBlobs(ctx)
	report.Damage = append(report.Damage, missing...)
	return report, err
}

// checkEmbedded reads every byte of the embedded store.
func (l *Local) checkEmbedded(ctx context.Context, progress func(checked, total int64)) (api.StoreReport, error) {
	found, err := l.Store.Check(ctx, func(p embedded.Progress) { progress(int64(p.Events), int64(p.Total)) })
	if err != nil {
		return api.StoreReport{}, err
	}
	report := api.StoreReport{Events: int64(found.Events), Streams: found.Streams, More: found.More, Damage: []api.StoreDamage{}}
	for _, d := range found.Damage {
		report.Damage = append(report.Damage, api.StoreDamage{Stream: d.Stream, Revision: d.Revision, Problem: d.String()})
	}
	return report, nil
}

// checkRemote reads what an EventStoreDB answers: it has its own checks for the bytes on its disks.
func (l *Local) checkRemote(ctx context.Context, progress func(checked, total int64)) (api.StoreReport, error) {
	c, err := newRemoteCheck(ctx, l.Journal)
	if err != nil {
		return api.StoreReport{}, err
	}
	err = Everything(ctx, l.Journal, 1, func(e *events.Envelope) error {
		c.event(e)
		progress(c.report.Events, max(c.total(e.Position), c.report.Events))
		return nil
	})
	if err == nil {
		err = c.ends(ctx)
	}
	c.report.Streams = len(c.streams)
	return c.report, err
}

// missingBlobs names the blobs that history refers to and that are not there: texts, and the files of workspaces. What is there was
// read by the blobs' own check.
func (l *Local) missingBlobs(ctx context.Context) ([]api.StoreDamage, error) {
	var missing []api.StoreDamage
	all, err := NewBlobRefs(l.Blobs)
	if err != nil {
		return nil, err
	}
	for next := storage.Start(); ; {
		page, err := l.Journal.ReadAll(ctx, next, storage.Forward, storage.Filter{Kinds: kindsWithBlobs()}, storage.Limit{})
		if errors.Is(err, storage.ErrCorrupt) {
			return missing, nil // the journal's check has said so
		}
		if err != nil {
			return nil, fmt.Errorf("look for missing blobs: %w", err)
		}
		for i := range page.Events {
			e := &page.Events[i]
			note := func(err error) {
				if err != nil {
					missing = append(missing, api.StoreDamage{Stream: e.Stream, Revision: e.Revision, Problem: fmt.Sprintf("%s@%d: %v", e.Stream, e.Revision, err)})
				}
			}
			err := all.Each(ctx, e, func(ref events.BlobRef) {
				blob, err := l.Blobs.Open(ctx, ref)
				if err == nil {
					err = blob.Close()
				}
				note(err)
			})
			if !errors.Is(err, fs.ErrNotExist) { // else it has been noted
				note(err)
			}
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
		}
		if page.End {
			return missing, nil
		}
		next = page.Next
	}
}
