package bus

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/google/uuid"

	"example.com/life/actors"
	"example.com/life/actors/actorstest"
	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/sagas"
)

// done is a command that reached the fake host.
type done struct {
	stream  events.Stream
	command sagas.Command
	origin  actors.Origin
}

// fakeHost answers commands as a function says; nil accepts them.
type fakeHost struct {
	mu     sync.Mutex
	done   []done
	answer func(try int, d done) (actors.Receipt, error)
}

func (f *fakeHost) Do(_ context.Context, stream events.Stream, command sagas.Command, origin actors.Origin) (actors.Receipt, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	d := done{stream, command, origin}
	f.done = append(f.done, d)
	if f.answer != nil {
		return f.answer(len(f.done), d)
	}
	return actors.Receipt{Stream: stream, Revision: 7}, nil
}

func (f *fakeHost) texts() (all []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, d := range f.done {
		if send, ok := d.command.(sagas.Send); ok {
			all = append(all, send.Inline)
		}
	}
	return all
}

// bench is an ingress over a memory journal, in a synctest bubble.
type bench struct {
	t       *testing.T
	journal *actorstest.Memory
	groups  *LocalGroups
	host    *fakeHost
}

// onBench runs a test in a bubble.
func onBench(t *testing.T, test func(t *testing.T, b *bench)) {
	synctest.Test(t, func(t *testing.T) {
		journal := actorstest.NewMemory()
		test(t, &bench{t: t, journal: journal, groups: groupsOf(t, journal), host: &fakeHost{}})
	})
}

// run runs an ingress until the returned function is called.
func (b *bench) run() (stop func()) {
	b.t.Helper()
	in, err := NewIngress(IngressConfig{Commands: b.host, Journal: b.journal, Groups: b.groups, Tenant: "local"})
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- in.Run(ctx) }()
	synctest.Wait()
	return func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			b.t.Errorf("the ingress ended with %v", err)
		}
	}
}

// say is a message to demo, from me.
func say(text string) Command {
	return Command{"agent-demo", sagas.Send{Verb: events.Collect, From: "me", Text: events.Text{Inline: text}}}
}

func (b *bench) send(id events.CommandID, command Command) {
	b.t.Helper()
	publisher, err := NewPublisher(PublisherConfig{Journal: b.journal})
	if err != nil {
		b.t.Fatal(err)
	}
	sender, err := NewSender(publisher, "local")
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := sender.Send(b.t.Context(), id, actors.Origin{Actor: "test"}, command); err != nil {
		b.t.Fatal(err)
	}
}

// raw publishes a command as any program may.
func (b *bench) raw(kind, data string) {
	b.t.Helper()
	e := events.Envelope{ID: uuid.New(), Kind: events.Kind(kind), Data: json.RawMessage(data)}
	e.SetMetadata([]byte(`{"from":"another program"}`))
	if _, err := b.journal.Append(b.t.Context(), "command-local", storage.ExpectAny, []events.Envelope{e}); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) read(stream string) []events.Envelope {
	b.t.Helper()
	page, err := b.journal.Read(b.t.Context(), events.Stream(stream), 0, storage.Forward, storage.Limit{})
	if err != nil {
		b.t.Fatal(err)
	}
	return page.Events
}

// replies are the kinds and data of what was answered.
func (b *bench) replies() (all []string) {
	for _, e := range b.read("reply-local") {
		all = append(all, string(e.Kind)+" "+string(e.Data))
	}
	return all
}

func (b *bench) poisoned() *Poisoned {
	b.t.Helper()
	p, err := NewPoisoned(b.journal, "local")
	if err != nil {
		b.t.Fatal(err)
	}
	return p
}

func (b *bench) list() []PoisonedCommand {
	b.t.Helper()
	list, err := b.poisoned().List(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	return list
}

func (b *bench) same(what string, got, want []string) {
	b.t.Helper()
	if !slices.Equal(got, want) {
		b.t.Errorf("%s:\n  %s\nwant\n  %s", what, strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

// models has one model, which says little.
type models struct{}

func (models) Lookup(string) (actors.Model, string, error) {
	return actorstest.FakeModel(func(context.Context, actors.ModelRequest, func(actors.Delta)) (actors.ModelResponse, error) {
		return actors.ModelResponse{Text: "done", Stop: events.StopEnd}, nil
	}), "one", nil
}
