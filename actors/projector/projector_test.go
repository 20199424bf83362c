package projector_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.uber.org/goleak"

	"example.com/life/actors/actorstest"
	"example.com/life/actors/projector"
	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/projections"
	"example.com/life/sagas"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func meta(id string) sagas.Meta { return sagas.Meta{ID: events.CommandID(id), At: storage.Now()} }

// keeper is a projector, and what decides its catalogue.
type keeper struct {
	*projector.Projector
	t       *testing.T
	journal storage.Journal
}

func start(t *testing.T, config projector.Config) *keeper {
	t.Helper()
	config.Blobs, config.Log, config.Tenant = actorstest.NewBlobs(), slog.New(slog.DiscardHandler), sagas.DefaultTenant
	p, err := projector.New(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return &keeper{p, t, config.Journal}
}

// do has the catalogue decide a command, as a host does.
func (k *keeper) do(command sagas.Command) (events.Position, error) {
	k.t.Helper()
	ctx, stream, catalogue, digest := k.t.Context(), events.ProjectionsStream(sagas.DefaultTenant), sagas.NewCatalogue(), events.Digest{}
	var err error
	switch c := command.(type) {
	case sagas.AddProjection:
		command, err = k.CompleteAdd(c)
	case sagas.SkipEvent:
		command, err = k.CompleteSkip(ctx, c)
	}
	if err != nil {
		return 0, err
	}
	page, err := k.journal.Read(ctx, stream, 0, storage.Forward, storage.Limit{})
	if err != nil {
		return 0, err
	}
	for i := range page.Events {
		fact, err := sagas.FactOf(&page.Events[i])
		if err != nil {
			return 0, err
		}
		catalogue, digest = catalogue.Apply(fact), page.Events[i].Digest
	}
	decided, err := catalogue.Decide(command)
	if err != nil {
		return 0, err
	}
	batch := make([]events.Envelope, len(decided))
	for i, event := range decided {
		data, version, err := events.Encode(event)
		if err != nil {
			return 0, err
		}
		digest = digest.Next(event.Kind(), data)
		batch[i] = events.Envelope{ID: uuid.New(), Kind: event.Kind(), Version: version, Time: storage.Now(), Command: command.Metadata().ID, Digest: digest, Data: data}
	}
	appended, err := k.journal.Append(ctx, stream, storage.ExpectRevision(catalogue.Revision), batch)
	if err != nil {
		return 0, err
	}
	return appended.Position, k.Reconcile(ctx)
}

func (k *keeper) must(command sagas.Command) events.Position {
	k.t.Helper()
	position, err := k.do(command)
	if err != nil {
		k.t.Fatalf("%T: %v", command, err)
	}
	return position
}

// keeping starts a projector with the declared ones of tests.
func keeping(t *testing.T, journal storage.Journal, snapshots storage.Snapshots, more ...projections.Spec) *keeper {
	t.Helper()
	return start(t, projector.Config{Journal: journal, Snapshots: snapshots, Projections: more, Declare: actorstest.Declare})
}

// put stores events of one decision.
func put(t *testing.T, journal storage.Journal, stream events.Stream, command events.CommandID, kind events.Kind, data ...string) events.Position {
	t.Helper()
	batch := make([]events.Envelope, len(data))
	for i := range data {
		batch[i] = events.Envelope{ID: uuid.New(), Kind: kind, Version: 1, Command: command, Data: []byte(data[i])}
	}
	appended, err := journal.Append(t.Context(), stream, storage.ExpectAny, batch)
	if err != nil {
		t.Fatal(err)
	}
	return appended.Position
}

// ask asks until the answer is as wanted.
func ask(t *testing.T, host *keeper, question projector.Question, wanted func(projector.Answer, error) bool) projector.Answer {
	t.Helper()
	for began := time.Now(); ; <-time.After(2 * time.Millisecond) {
		answer, err := host.Query(t.Context(), question, nil)
		if wanted(answer, err) {
			return answer
		}
		if time.Since(began) > 10*time.Second {
			t.Fatalf("%+v: %+v, %+v, %v", question, answer, answer.Stopped, err)
		}
	}
}

func standing(t *testing.T, host *keeper, name string) projector.Status {
	t.Helper()
	list, err := host.Projections(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i := range list {
		if list[i].Name == name {
			return list[i]
		}
	}
	t.Fatalf("there is no projection %s", name)
	return projector.Status{}
}

func credits(t *testing.T, memory *actorstest.Memory, n int) (last events.Position) {
	t.Helper()
	for i := range n {
		last = put(t, memory, "wallet-main", events.CommandID(fmt.Sprint("credit-", i)), "wallet.credited", `{"amount":"1"}`)
	}
	return last
}

// gate is a journal whose reads of everything wait, from a position on, until it is opened.
type gate struct {
	storage.Journal
	from events.Position
	open chan struct{}
	read atomic.Int64 // events, forward
}

func (g *gate) ReadAll(ctx context.Context, from storage.Place, d storage.Direction, f storage.Filter, l storage.Limit) (storage.Page, error) {
	if d == storage.Forward && from.Position >= g.from && g.from > 0 {
		select {
		case <-g.open:
		case <-ctx.Done():
			return storage.Page{}, ctx.Err()
		}
	}
	page, err := g.Journal.ReadAll(ctx, from, d, f, l)
	if d == storage.Forward {
		g.read.Add(int64(len(page.Events)))
	}
	return page, err
}
