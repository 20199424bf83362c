package cmd

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"example.com/life/actors/storage"
	"example.com/life/adapters/blobs"
	"example.com/life/adapters/embedded"
	"example.com/life/cmd/stores"
	"example.com/life/events"
)

// copied is what life store copy reports.
type copied struct {
	From    string        `json:"from"`
	To      string        `json:"to"`
	Events  int64         `json:"events"` // in both stores, verified
	New     int64         `json:"new"`    // of them, those that were not there before
	Streams int           `json:"streams"`
	Digest  events.Digest `json:"digest"` // over stream, revision, id, kind, data and metadata of every event, in their order
	Left    int64         `json:"left"`   // events of the store's own streams, which are not copied
	Blobs   int64         `json:"blobs"`  // copied or there already
}

type copyFlags struct {
	fromCredentials, toCredentials string
	asJSON, progress               bool
}

func storeCopyCommand(a *app) *cobra.Command {
	var f copyFlags
	cmd := &cobra.Command{
		Use:   "copy FROM TO",
		Short: "Copy a store to another one, and compare both",
		Long: "Copy every event with its id, revision and order between two stores, each a data directory or the address of an EventStoreDB. TO must\n" +
			"be empty or hold the beginning of a copy: an interrupted copy, or a later copy of a store that has grown, continues where TO ends. At\n" +
			"the end both stores are read and compared by digest. The latest metadata of each stream are copied, and streams that were deleted\n" +
			"permanently are deleted last. A data directory also keeps positions and times; EventStoreDB assigns its own.\n" +
			"Users, and consumer groups with their checkpoints, are not copied. Blobs are copied between data directories.",
		Example: "  life store copy ~/.local/share/life esdb://127.0.0.1:2113?tls=false\n  life store copy esdb://db.example:2113 restored --from-credentials-file ~/.esdb --json",
		Args:    takes(2, 2, "two stores, each a data directory or an address such as esdb://127.0.0.1:2113"),
		RunE: func(cmd *cobra.Command, args []string) error {
			report, err := a.copyStore(cmd.Context(), args[0], args[1], &f)
			if err != nil {
				return err
			}
			return a.printCopied(report, f.asJSON)
		},
	}
	cmd.Flags().StringVar(&f.fromCredentials, "from-credentials-file", "", "file with user:password for FROM (default: --store-credentials-file)")
	cmd.Flags().StringVar(&f.toCredentials, "to-credentials-file", "", "file with user:password for TO (default: --store-credentials-file)")
	jsonFlag(cmd, &f.asJSON)
	progressFlag(cmd, &f.progress)
	return cmd
}

// placeOf reads a store's name on the command line.
func (a *app) placeOf(text, credentials string) (stores.Location, error) {
	p := stores.Location{Data: text, Say: a.errs}
	if stores.IsAddress(text) {
		p = stores.Location{Address: text, Credentials: credentials, Say: a.errs}
		if credentials == "" {
			p.Credentials = a.config.get("store-credentials-file")
		}
		if err := p.CheckAddress(true); err != nil {
			return p, &exit{exitUsage, err}
		}
		return p, nil
	}
	var err error
	if p.Data, err = filepath.Abs(text); err != nil {
		return p, fmt.Errorf("find %s: %w", text, err)
	}
	return p, nil
}

func (a *app) copyStore(ctx context.Context, from, to string, f *copyFlags) (report copied, err error) {
	source, err := a.placeOf(from, f.fromCredentials)
	if err != nil {
		return report, err
	}
	target, err := a.placeOf(to, f.toCredentials)
	if err != nil {
		return report, err
	}
	if source.String() == target.String() {
		return report, usage("%s cannot be copied into itself", source)
	}
	report.From, report.To = source.String(), target.String()
	reading, err := a.openSource(ctx, source)
	if err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, reading.Close()) }()
	writing, err := target.Open(ctx, a.log)
	if err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, writing.Close()) }()
	m := a.newMeter(f.progress)
	defer m.done()
	c := newCopying(reading, writing, m)
	if source.Embedded() && target.Embedded() {
		if c.blobs, err = copyBlobs(source.Data, target.Data); err != nil {
			return report, err
		}
	}
	err = c.run(ctx, &report)
	return report, err
}

// copyBlobs returns what copies the blobs that an event refers to.
func copyBlobs(source, target string) (func(context.Context, *events.Envelope) (int, error), error) {
	from, err := blobs.Open(filepath.Join(source, stores.BlobsName))
	if err != nil {
		return nil, err
	}
	to, err := blobs.Open(filepath.Join(target, stores.BlobsName))
	if err != nil {
		return nil, err
	}
	all, err := stores.NewBlobRefs(from)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, e *events.Envelope) (count int, err error) {
		copyErr := all.Each(ctx, e, func(ref events.BlobRef) {
			if err == nil {
				count++
				err = copyBlob(ctx, from, to, ref)
			}
		})
		if err = errors.Join(err, copyErr); err != nil {
			return 0, fmt.Errorf("copy the blobs of %s: %w", e.Ref(), err)
		}
		return count, nil
	}, nil
}

func copyBlob(ctx context.Context, from, to *blobs.Store, ref events.BlobRef) error {
	content, err := from.Open(ctx, ref)
	if err != nil {
		return err
	}
	_, err = to.Put(ctx, ref.Media, content)
	return errors.Join(err, content.Close())
}

func (a *app) printCopied(r copied, asJSON bool) error {
	if asJSON {
		return a.printJSON(r)
	}
	fmt.Fprintf(a.out, "ok: %d events in %d streams are the same in both, %d of them new\ndigest %s\n", r.Events, r.Streams, r.New, r.Digest)
	if r.Left > 0 {
		fmt.Fprintf(a.errs, "life: %d events of the store's own streams are not copied: users, and consumer groups with their checkpoints\n", r.Left)
	}
	switch {
	case !stores.IsAddress(r.From) && stores.IsAddress(r.To):
		fmt.Fprintf(a.errs, "life: blobs stay in %s: hosts that use the copy need that directory in their data directory\n", filepath.Join(r.From, stores.BlobsName))
	case stores.IsAddress(r.From):
		fmt.Fprintln(a.errs, "life: blobs are not copied: hosts that use the copy need the directory blobs of the hosts that wrote it")
	}
	return nil
}

// intoStore returns what puts events into a store: where they stood if it is embedded, else one append after the other.
func intoStore(to stores.Journal) sink {
	if store, ok := to.(*embedded.Store); ok {
		return &importing{store: store}
	}
	return &appending{journal: to}
}

// sink takes the events of a copy in their order.
type sink interface {
	// takes says which events it is given, besides those of plain streams.
	takes(metadata, tombstone bool) bool
	put(ctx context.Context, e *events.Envelope) error
	flush(ctx context.Context) error
}

// importing stores events with their positions and times, metadata and tombstones where they stood.
type importing struct {
	store *embedded.Store
	batch []events.Envelope
	size  int
}

func (i *importing) takes(bool, bool) bool { return true }

func (i *importing) put(ctx context.Context, e *events.Envelope) error {
	i.batch = append(i.batch, *e)
	if i.size += len(e.Data); len(i.batch) < importEvents && i.size < importBytes {
		return nil
	}
	return i.flush(ctx)
}

func (i *importing) flush(ctx context.Context) error {
	batch := i.batch
	i.batch, i.size = nil, 0 // the store may keep what it gets
	if len(batch) == 0 {
		return nil
	}
	if err := i.store.Import(ctx, batch); err != nil {
		return fmt.Errorf("copy %s to %s: %w", batch[0].Ref(), batch[len(batch)-1].Ref(), err)
	}
	return nil
}

// appending appends events that follow one another in one stream together. The order of everything stays: nothing is appended
// before what was before it is stored.
type appending struct {
	journal storage.Journal
	batch   []events.Envelope
	size    int
}

// Bounds of one append: EventStoreDB refuses more than a mebibyte.
const (
	appendEvents = 500
	appendBytes  = 512 << 10
)

func (a *appending) takes(metadata, tombstone bool) bool { return !metadata && !tombstone }

func (a *appending) put(ctx context.Context, e *events.Envelope) error {
	size := len(e.Data) + len(e.Metadata())
	if len(a.batch) > 0 && (a.batch[0].Stream != e.Stream || len(a.batch) == appendEvents || a.size+size > appendBytes) {
		if err := a.flush(ctx); err != nil {
			return err
		}
	}
	a.batch, a.size = append(a.batch, *e), a.size+size
	return nil
}

func (a *appending) flush(ctx context.Context) error {
	batch := a.batch
	a.batch, a.size = nil, 0 // the journal keeps what it gets
	if len(batch) == 0 {
		return nil
	}
	first := batch[0].Ref()
	if _, err := a.journal.Append(ctx, batch[0].Stream, storage.ExpectRevision(batch[0].Revision-1), batch); err != nil {
		return fmt.Errorf("copy %s: %w", first, err)
	}
	return nil
}
