package actorstest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"example.com/life/actors"
	"example.com/life/actors/projector"
	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/projections"
	"example.com/life/sagas"
	"example.com/life/sagas/world"
)

// TestProjector holds the projections of a host on a store to what they are: folds of its history. Histories are made up from seeds, and
// hosts on them die at any moment: whatever they leave behind, the next one answers every query as a fold from the beginning does, saves
// the same bytes, and answers as of any earlier position.
//
// It runs a third of the seeds on histories half as long, in which as much happens, unless LIFE_CONFORMANCE is full.
func TestProjector(t *testing.T, seeds int, open func(t *testing.T) (storage.Journal, storage.Snapshots)) {
	length := int64(1000)
	if os.Getenv("LIFE_CONFORMANCE") == "full" {
		length *= 2
	} else {
		seeds = (seeds + 2) / 3
	}
	for seed := range seeds {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			journal, snapshots := open(t)
			s := &projected{t: t, length: length, random: rand.New(rand.NewPCG(uint64(seed), 1)), journal: journal, snapshots: &mortal{Snapshots: snapshots}}
			s.run()
		})
	}
}

// projected is one history and the hosts on it.
type projected struct {
	t         *testing.T
	length    int64 // of the shortest history, in events
	random    *rand.Rand
	journal   storage.Journal
	snapshots *mortal
	host      *actors.Host
	lives     int
	commands  int
	skipped   map[string]map[events.Position]bool
	tallies   string // the text of the declared projection
	poison    []events.Position
}

// mortal are snapshots to which a dead host writes nothing more.
type mortal struct {
	storage.Snapshots
	left atomic.Int64 // writes until the host dies; 0 and less: it is dead
}

func (m *mortal) Save(ctx context.Context, fold string, stream events.Stream, snapshot storage.Snapshot) error {
	if m.left.Add(-1) < 0 {
		return storage.ErrClosed
	}
	return m.Snapshots.Save(ctx, fold, stream, snapshot)
}

func (m *mortal) Drop(ctx context.Context, fold string, stream events.Stream, from events.Revision) error {
	if m.left.Add(-1) < 0 {
		return storage.ErrClosed
	}
	return m.Snapshots.Drop(ctx, fold, stream, from)
}

func (s *projected) run() {
	s.skipped = map[string]map[events.Position]bool{}
	made := world.New(world.Config{Seed: s.random.Uint64(), Agents: 2 + s.random.IntN(6), Events: s.length + s.random.Int64N(2*s.length)})
	for {
		batch, err := made.Next()
		if err != nil {
			s.t.Fatal(err)
		}
		if len(batch) == 0 {
			break
		}
		s.append(batch[0].Stream, batch)
		s.perhaps()
	}
	s.live(1 << 60)
	s.check()
	s.earlier()
	s.end()
	s.checkStored()
}

// perhaps does something else between two decisions.
func (s *projected) perhaps() {
	switch n := s.random.Int64N(s.length); {
	case n < 8:
		s.live(s.random.Int64N(40))
	case n < 10 && s.host != nil:
		s.check()
	case n < 12 && s.host != nil:
		if _, err := s.host.Rebuild(s.t.Context(), []string{"balance", "roster"}[:1+s.random.IntN(2)], nil); err != nil && !s.busy(err) {
			s.t.Fatal(err)
		}
	case n < 13 && len(s.poison) < 3:
		bad := events.Envelope{ID: uuid.New(), Kind: "wallet.credited", Version: 1, Data: []byte(`{"amount":1}`)}
		s.poison = append(s.poison, s.append("wallet-poison", []events.Envelope{bad}))
	case n < 16 && s.host != nil && len(s.poison) > 0:
		s.skip([]string{"balance", "mode"}[s.random.IntN(2)], s.poison[s.random.IntN(len(s.poison))])
	case n < 20 && s.host != nil:
		s.declare()
	}
}

// busy reports whether a rebuild was refused because there is one, or did not come as far as what answers, which was skipped on.
func (s *projected) busy(err error) bool {
	var refusal *sagas.RefusalError
	return errors.As(err, &refusal) && refusal.Code == sagas.RefusedState
}

func (s *projected) append(stream events.Stream, batch []events.Envelope) events.Position {
	s.t.Helper()
	appended, err := s.journal.Append(s.t.Context(), stream, storage.ExpectAny, batch)
	if err != nil {
		s.t.Fatal(err)
	}
	return appended.Position
}

// live ends the host that there is, which may have died before, and starts another that dies after so many writes of its projector.
func (s *projected) live(writes int64) {
	s.t.Helper()
	s.end()
	s.snapshots.left.Store(writes)
	host, err := actors.New(s.t.Context(), actors.Config{
		Masker:  Unmasked{},
		Journal: quietJournal{s.journal}, Snapshots: s.snapshots, Blobs: NewBlobs(), Models: noLookup{}, Declare: Declare, Resting: s.random.IntN(4) == 0,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.host = host
	s.lives++
}

func (s *projected) end() {
	if s.host == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.t.Context()), 10*time.Second)
	defer cancel()
	if err := s.host.Close(ctx); err != nil {
		s.t.Fatal(err)
	}
	s.host = nil
}

// quietJournal takes nothing but commands about projections: a host would otherwise go on with the agents of the history.
type quietJournal struct{ storage.Journal }

func (q quietJournal) Append(ctx context.Context, stream events.Stream, expected storage.Expected, batch []events.Envelope) (storage.Appended, error) {
	if category, _ := stream.Split(); category != events.ProjectionsCategory {
		return storage.Appended{}, storage.ErrClosed
	}
	return q.Journal.Append(ctx, stream, expected, batch)
}

type noLookup struct{}

func (noLookup) Lookup(model string) (actors.Model, string, error) {
	return nil, "", errors.New("there is no model " + model)
}

// do has the host decide a command, and reports whether it was accepted.
func (s *projected) do(command sagas.Command) bool {
	s.t.Helper()
	_, err := s.host.Do(s.t.Context(), events.ProjectionsStream(sagas.DefaultTenant), command, actors.Origin{Actor: "test"})
	var refusal *sagas.RefusalError
	if err != nil && (!errors.As(err, &refusal) || refusal.Code != sagas.RefusedExists && refusal.Code != sagas.RefusedState) {
		s.t.Fatal(err)
	}
	return err == nil
}

func (s *projected) meta() sagas.Meta {
	s.commands++
	return sagas.Meta{ID: events.CommandID(fmt.Sprint("command-", s.commands)), At: storage.Now()}
}

// skip has a projection leave an event out, if it stopped there.
func (s *projected) skip(name string, position events.Position) {
	if !s.do(sagas.SkipEvent{Meta: s.meta(), Name: name, Position: position, Reason: "it is poison", By: "ann"}) {
		return
	}
	if s.skipped[name] == nil {
		s.skipped[name] = map[events.Position]bool{}
	}
	s.skipped[name][position] = true
}

// declare adds the declared projection, or gives it another text.
func (s *projected) declare() {
	s.tallies = fmt.Sprint("tally ", 1+s.random.IntN(3), []string{"", " fails turn.paused", " panics turn.paused"}[s.random.IntN(3)])
	s.do(sagas.AddProjection{Meta: s.meta(), Source: events.Text{Inline: s.tallies}, By: "ann"})
}

// specs are the projections that the host has.
func (s *projected) specs() []projections.Spec {
	all := projections.Catalog
	if s.tallies == "" {
		return all
	}
	spec, err := Declare([]byte(s.tallies))
	if err != nil {
		s.t.Fatal(err)
	}
	return append(all[:len(all):len(all)], spec)
}

// history returns all events up to a position.
func (s *projected) history(until events.Position) []events.Envelope {
	s.t.Helper()
	var all []events.Envelope
	for next := storage.Start(); ; {
		page, err := s.journal.ReadAll(s.t.Context(), next, storage.Forward, storage.Filter{}, storage.Limit{Events: 4096, Bytes: 16 << 20})
		if err != nil {
			s.t.Fatal(err)
		}
		for i := range page.Events {
			if page.Events[i].Position > until {
				return all
			}
			all = append(all, page.Events[i])
		}
		if page.End {
			return all
		}
		next = page.Next
	}
}

// folded is the plain way: every event, from the beginning, until one cannot be folded.
func (s *projected) folded(spec *projections.Spec, all []events.Envelope) (fold projections.Fold, count int64, stopped events.Position) {
	fold = spec.New()
	for i := range all {
		if !spec.Wants(&all[i]) || s.skipped[spec.Name][all[i].Position] {
			continue
		}
		if fails(spec, all[i].Kind) || fold.Apply(&projections.Recorded{Envelope: &all[i]}) != nil {
			return fold, count, all[i].Position
		}
		count++
	}
	return fold, count, 0
}

// queries are those of a projection that take no parameter.
func queries(spec *projections.Spec) []string {
	var names []string
	for i := range spec.Queries {
		needed := false
		for _, p := range spec.Queries[i].Params {
			needed = needed || p.Required
		}
		if !needed {
			names = append(names, spec.Queries[i].Name)
		}
	}
	return names
}

// check compares every answer as of now.
func (s *projected) check() {
	s.t.Helper()
	all := s.history(1 << 62)
	if len(all) > 0 {
		s.compare(all, projector.Question{Min: 0}, all[len(all)-1].Position)
	}
}

// earlier compares every answer as of some earlier positions.
func (s *projected) earlier() {
	s.t.Helper()
	all := s.history(1 << 62)
	for range 6 {
		n := 1 + s.random.IntN(len(all))
		s.compare(all[:n], projector.Question{At: all[n-1].Position}, 0)
	}
}

func (s *projected) compare(all []events.Envelope, ask projector.Question, head events.Position) {
	s.t.Helper()
	specs := s.specs()
	for i := range specs {
		spec := &specs[i]
		fold, count, stopped := s.folded(spec, all)
		for _, name := range queries(spec) {
			ask.Projection, ask.Query = spec.Name, projections.Query{Name: name}
			if stopped == 0 {
				ask.Min = head
			} else {
				ask.Min = 0
			}
			got := s.ask(spec, ask, stopped)
			answer, err := fold.Answer(ask.Query)
			if err != nil {
				s.t.Fatal(err)
			}
			var want bytes.Buffer
			encoder := json.NewEncoder(&want)
			encoder.SetEscapeHTML(false)
			if err := encoder.Encode(answer); err != nil {
				s.t.Fatal(err)
			}
			if diff := cmp.Diff(strings.TrimSpace(want.String()), string(got.Answer)); diff != "" || got.Events != count {
				s.t.Fatalf("life %d: %s %s at %d: %d events, want %d (stopped before %d, %+v):\n%s",
					s.lives, spec.Name, name, ask.At, got.Events, count, stopped, got.Stopped, diff)
			}
		}
	}
}

// ask asks the host, until it has noticed what it must notice: that an event stands in the way, or that another text is built.
func (s *projected) ask(spec *projections.Spec, ask projector.Question, stopped events.Position) projector.Answer {
	s.t.Helper()
	for began := time.Now(); ; {
		got, err := s.host.Query(s.t.Context(), ask, nil)
		switch {
		case err == nil && got.Version == spec.Version && (got.Stopped == nil) == (stopped == 0) && (stopped == 0 || got.Stopped.Position == stopped):
			return got
		case time.Since(began) > 20*time.Second:
			s.t.Fatalf("life %d: ask %s at %d: %+v, %+v, %v; stopped before %d", s.lives, spec.Name, ask.At, got, got.Stopped, err, stopped)
		}
		<-time.After(2 * time.Millisecond)
	}
}

// checkStored compares the states that the last host left with folds from the beginning.
func (s *projected) checkStored() {
	s.t.Helper()
	specs := s.specs()
	for i := range specs {
		spec := &specs[i]
		noted := struct {
			Generation int `json:"generation"`
		}{}
		note, found, err := s.snapshots.Load(s.t.Context(), "projection-current:"+spec.Name, "$all", 1<<62)
		if err != nil || !found || json.Unmarshal(note.State, &noted) != nil {
			continue // too little was folded for a host that rests
		}
		stored, found, err := s.snapshots.Load(s.t.Context(), "projection:"+spec.Name+"/"+strconv.Itoa(noted.Generation), "$all", 1<<62)
		if err != nil || !found {
			continue
		}
		_, state, _ := bytes.Cut(stored.State, []byte("\n"))
		fold, _, _ := s.folded(spec, s.history(events.Position(stored.Revision)))
		want, err := fold.Save()
		if err != nil {
			s.t.Fatal(err)
		}
		if !bytes.Equal(want, state) {
			s.t.Fatalf("the stored state of %s as of position %d is not that of its history:\n%s", spec.Name, stored.Revision, cmp.Diff(string(want), string(state)))
		}
	}
}
