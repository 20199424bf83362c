package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/uuid"

	"example.com/life/actors"
	"example.com/life/actors/actorstest"
	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/sagas"
)

func TestCommandsAreCarriedOutAndAnswered(t *testing.T) {
	onBench(t, func(t *testing.T, b *bench) {
		stop := b.run()
		b.send("c-1", say("hello"))
		b.send("c-1", say("hello")) // the same one
		b.send("c-2", Command{"agent-demo", sagas.Cancel{By: "me"}})
		synctest.Wait()
		stop()
		if len(b.host.done) != 2 {
			t.Fatalf("the host got %+v", b.host.done)
		}
		send, ok := b.host.done[0].command.(sagas.Send)
		if !ok || send.ID != "c-1" || send.Verb != events.Collect || send.Inline != "hello" || send.From != "me" {
			t.Errorf("the host got %+v", b.host.done[0].command)
		}
		if d := b.host.done[0]; d.stream != "agent-demo" || d.origin.Actor != "test" {
			t.Errorf("for %s from %+v", d.stream, d.origin)
		}
		b.same("replies", b.replies(), []string{
			`command.accepted {"command":"c-1","type":"SendMessage","receipt":{"stream":"agent-demo","revision":"7","position":"0"}}`,
			`command.accepted {"command":"c-2","type":"Cancel","receipt":{"stream":"agent-demo","revision":"7","position":"0"}}`,
		})
		first := b.read("reply-local")[0]
		if first.Correlation != "c-1" || first.Causation != "command-local@0" {
			t.Errorf("the reply is correlated with %q, because of %q", first.Correlation, first.Causation)
		}
	})
}

func TestRefusalsAreAnswers(t *testing.T) {
	onBench(t, func(t *testing.T, b *bench) {
		b.host.answer = func(int, done) (actors.Receipt, error) {
			return actors.Receipt{}, &sagas.RefusalError{Code: sagas.RefusedMissing, Detail: "there is no agent demo"}
		}
		stop := b.run()
		b.send("c-1", Command{"agent-demo", sagas.Retire{}})
		synctest.Wait()
		stop()
		b.same("replies", b.replies(), []string{`command.refused {"command":"c-1","type":"Retire","code":"not_found","detail":"there is no agent demo"}`})
		if list := b.list(); len(list) != 0 || len(b.host.done) != 1 {
			t.Errorf("a refusal was tried %d times and poisoned: %+v", len(b.host.done), list)
		}
	})
}

func TestFailuresAreTriedAgainInOrder(t *testing.T) {
	onBench(t, func(t *testing.T, b *bench) {
		b.host.answer = func(try int, d done) (actors.Receipt, error) {
			switch try {
			case 1:
				return actors.Receipt{}, &actors.OverloadedError{Stream: d.stream, Waiting: 9}
			case 2:
				panic("a fault")
			case 3:
				return actors.Receipt{}, context.DeadlineExceeded
			}
			return actors.Receipt{Stream: d.stream}, nil
		}
		stop := b.run()
		b.send("c-1", say("one"))
		b.send("c-2", say("two"))
		elapse(time.Minute)
		stop()
		b.same("commands", b.host.texts(), []string{"one", "one", "one", "one", "two"})
		if list := b.list(); len(list) != 0 {
			t.Errorf("poisoned: %+v", list)
		}
	})
}

func TestUnreadableCommandsArePoisoned(t *testing.T) {
	onBench(t, func(t *testing.T, b *bench) {
		stop := b.run()
		b.raw("SendMessage", `{"agent":"demo","text":"x","colour":"red"}`)
		b.raw("Reboot", `{}`)
		b.raw("poison.dropped", `{"entry":"0"}`) // no forgery settles anything
		b.send("c-1", say("next"))
		synctest.Wait()
		stop()
		b.same("commands", b.host.texts(), []string{"next"})
		list := b.list()
		if len(list) != 3 {
			t.Fatalf("poisoned: %+v", list)
		}
		p := list[0]
		if p.Entry != 0 || p.Event != "command-local@0" || p.Type != "SendMessage" || !strings.Contains(p.Reason, `there is no field "colour"`) ||
			string(p.Payload) != `{"agent":"demo","text":"x","colour":"red"}` {
			t.Errorf("poisoned: %+v", p)
		}
		if metadataOf(b.read("poison-local")[0].Metadata())["from"] != "another program" {
			t.Error("the metadata are lost")
		}
		if replies := b.replies(); len(replies) != 4 || !strings.HasPrefix(replies[1], `command.poisoned {"command":"`+string(list[1].Command)+`","type":"Reboot","detail":"there is no command \"Reboot\"`) {
			t.Errorf("replies: %s", strings.Join(replies, "\n"))
		}
	})
}

func TestPoisonedRetryAndDrop(t *testing.T) {
	onBench(t, func(t *testing.T, b *bench) {
		var mended atomic.Bool
		b.host.answer = func(_ int, d done) (actors.Receipt, error) {
			if !mended.Load() {
				return actors.Receipt{}, &actors.UnavailableError{Stream: d.stream, Reason: "its circuit is open"}
			}
			return actors.Receipt{Stream: d.stream}, nil
		}
		stop := b.run()
		defer stop()
		b.send("c-1", say("one"))
		b.send("c-2", say("two"))
		elapse(10 * time.Minute) // eight tries each
		if list := b.list(); len(b.host.texts()) != 18 || len(list) != 2 || list[0].Command != "c-1" || !strings.Contains(list[0].Reason, "its circuit is open") {
			t.Fatalf("after %d tries poisoned: %+v", len(b.host.texts()), list)
		}
		// Retried while it is broken still: it is poisoned again, as another entry of the same command.
		if err := b.poisoned().Retry(t.Context(), 0, "ann"); err != nil {
			t.Fatal(err)
		}
		elapse(10 * time.Minute)
		list := b.list()
		if len(list) != 2 || list[0].Entry != 1 || list[1].Command != "c-1" || list[1].Event != "command-local@2" {
			t.Fatalf("poisoned: %+v", list)
		}
		mended.Store(true)
		if err := b.poisoned().Retry(t.Context(), list[1].Entry, "ann"); err != nil {
			t.Fatal(err)
		}
		var refusal *sagas.RefusalError
		if err := b.poisoned().Drop(t.Context(), 1, "ann", " "); !errors.As(err, &refusal) {
			t.Errorf("dropped without a reason: %v", err)
		}
		if err := b.poisoned().Drop(t.Context(), 1, "ann", "no longer wanted"); err != nil {
			t.Fatal(err)
		}
		for _, entry := range []events.Revision{0, 1, 99} {
			if err := b.poisoned().Retry(t.Context(), entry, ""); !errors.As(err, &refusal) || refusal.Code != sagas.RefusedMissing {
				t.Errorf("retried %d, which is not poisoned: %v", entry, err)
			}
		}
		synctest.Wait()
		last := b.host.done[len(b.host.done)-1]
		if send, ok := last.command.(sagas.Send); !ok || send.ID != "c-1" || send.Inline != "one" || last.origin.Actor != "test" {
			t.Errorf("the retried command is %+v from %+v", last.command, last.origin)
		}
		if list := b.list(); len(list) != 0 {
			t.Errorf("poisoned still: %+v", list)
		}
	})
}

// TestWhileTheHostIsAway: nothing is poisoned and nothing is lost, however long that takes.
func TestWhileTheHostIsAway(t *testing.T) {
	onBench(t, func(t *testing.T, b *bench) {
		var back atomic.Bool
		b.host.answer = func(_ int, d done) (actors.Receipt, error) {
			if !back.Load() {
				return actors.Receipt{}, storage.ErrClosed
			}
			return actors.Receipt{Stream: d.stream}, nil
		}
		stop := b.run()
		b.send("c-1", say("one"))
		b.send("c-2", say("two"))
		elapse(2 * time.Hour)
		back.Store(true)
		elapse(time.Minute)
		stop()
		texts := b.host.texts()
		if slices.Contains(texts[:len(texts)-1], "two") || texts[len(texts)-1] != "two" || len(b.list()) != 0 {
			t.Errorf("carried out %d, the last %q; poisoned %+v", len(texts), texts[len(texts)-1], b.list())
		}
	})
}

// TestAcknowledgedOnlyAfterTheDecision: a process that dies anywhere between a command's delivery and its ack leaves it to the next
// one, under the same id; once its reply is stored it is done with.
func TestAcknowledgedOnlyAfterTheDecision(t *testing.T) {
	for _, dies := range []string{"before the decision", "before the reply", "before the position"} {
		t.Run(dies, func(t *testing.T) {
			onBench(t, func(t *testing.T, b *bench) {
				b.send("c-1", say("one"))
				var dead atomic.Bool
				end := func(here bool) error {
					if here {
						dead.Store(true)
					}
					if dead.Load() {
						return storage.ErrClosed
					}
					return nil
				}
				b.host.answer = func(_ int, d done) (actors.Receipt, error) {
					return actors.Receipt{Stream: d.stream}, end(dies == "before the decision")
				}
				b.journal.Fail(func(stream events.Stream, _ []events.Envelope) error {
					return end(dies == "before the reply" && stream == "reply-local" ||
						dies == "before the position" && strings.HasPrefix(string(stream), "checkpoint-"))
				})
				stop := b.run()
				elapse(time.Minute)
				stop()
				b.host.answer = nil
				b.journal.Fail(nil)
				stop = b.run()
				synctest.Wait()
				stop()
				ids := map[events.CommandID]bool{}
				for _, d := range b.host.done {
					ids[d.command.Metadata().ID] = true
				}
				if again := len(b.host.done) > 1; len(ids) != 1 || again == (dies == "before the position") || len(b.replies()) != 1 {
					t.Errorf("tried %d times under %v, %d replies", len(b.host.done), ids, len(b.replies()))
				}
			})
		})
	}
}

func TestTracesGoOn(t *testing.T) {
	onBench(t, func(t *testing.T, b *bench) {
		stop := b.run()
		const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
		m := message.NewMessage("c-1", []byte(`{"agent":"demo"}`))
		m.Metadata = message.Metadata{TypeKey: "Cancel", TraceKey: trace, CorrelationKey: "order 12"}
		publisher, err := NewPublisher(PublisherConfig{Journal: b.journal})
		if err != nil {
			t.Fatal(err)
		}
		if err := publisher.Publish("command-local", m); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		stop()
		if len(b.host.done) != 1 || b.host.done[0].origin != (actors.Origin{Actor: "bus", Traceparent: trace}) {
			t.Errorf("carried out %+v", b.host.done)
		}
		if r := b.read("reply-local"); len(r) != 1 || r[0].Traceparent != trace || r[0].Correlation != "order 12" {
			t.Errorf("replied %+v", r)
		}
	})
}

// TestADriveOfARealHost publishes commands, each twice, and finds each once in the agent's history.
func TestADriveOfARealHost(t *testing.T) {
	journal := actorstest.NewMemory()
	host, err := actors.New(t.Context(), actors.Config{Masker: actorstest.Unmasked{}, Journal: journal, Blobs: actorstest.NewBlobs(), Models: models{}, OpeningCredit: 10 * events.Dollar})
	if err != nil {
		t.Fatal(err)
	}
	in, err := NewIngress(IngressConfig{Commands: host, Journal: journal, Groups: groupsOf(t, journal), Tenant: "local"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- in.Run(ctx) }()
	publisher, err := NewPublisher(PublisherConfig{Journal: journal})
	if err != nil {
		t.Fatal(err)
	}
	send := func(id, kind, data string) {
		for range 2 { // the second under an event id of its own: the agent itself has to know the command
			m := message.NewMessage(uuid.NewString(), []byte(data))
			m.Metadata = message.Metadata{TypeKey: kind, CommandKey: id}
			if err := publisher.Publish("command-local", m); err != nil {
				t.Fatal(err)
			}
		}
	}
	send("make", "Create", `{"agent":"demo","config":{"model":"fake/one"}}`)
	for i := range 5 {
		send(fmt.Sprint("say-", i), "SendMessage", fmt.Sprintf(`{"agent":"demo","text":"%d"}`, i))
	}
	send("bye", "Retire", `{"agent":"demo"}`)
	send("no", "SendMessage", `{"agent":"nobody","text":"x"}`)
	replies := subscriber(t, groupsOf(t, journal), "test")
	got := map[string]int{}
	messages := subscribe(t, replies, "reply-local")
	for range 16 {
		m := <-messages
		var r Reply
		if err := json.Unmarshal(m.Payload, &r); err != nil {
			t.Fatal(err)
		}
		got[m.Metadata[TypeKey]+" "+string(r.Command)]++
		m.Ack()
	}
	cancel()
	if err := errors.Join(replies.Close(), <-ended); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	page, err := journal.Read(t.Context(), "agent-demo", 0, storage.Forward, storage.Limit{})
	if err != nil {
		t.Fatal(err)
	}
	received := 0
	for i := range page.Events {
		if page.Events[i].Kind == (events.MessageReceived{}).Kind() {
			received++
		}
	}
	if received != 5 || got["command.accepted make"] != 2 || got["command.accepted say-4"] != 2 || got["command.refused no"] != 2 {
		t.Errorf("%d messages received; replies: %v", received, got)
	}
	closing, stop := context.WithTimeout(context.WithoutCancel(t.Context()), 10*time.Second)
	defer stop()
	if err := host.Close(closing); err != nil {
		t.Error(err)
	}
}

// TestIDsReused sends commands under one id: the same one again is one message, another one is refused by the agent that knows the id, and the same id
// for another agent is a command of its own. Each has a reply.
func TestIDsReused(t *testing.T) {
	journal := actorstest.NewMemory()
	host, err := actors.New(t.Context(), actors.Config{Masker: actorstest.Unmasked{}, Journal: journal, Blobs: actorstest.NewBlobs(), Models: models{}, OpeningCredit: 10 * events.Dollar})
	if err != nil {
		t.Fatal(err)
	}
	in, err := NewIngress(IngressConfig{Commands: host, Journal: journal, Groups: groupsOf(t, journal), Tenant: "local"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- in.Run(ctx) }()
	publisher, err := NewPublisher(PublisherConfig{Journal: journal})
	if err != nil {
		t.Fatal(err)
	}
	sender, err := NewSender(publisher, "local")
	if err != nil {
		t.Fatal(err)
	}
	say := func(text string) sagas.Command {
		return sagas.Send{Verb: events.Collect, Text: events.Text{Inline: text}}
	}
	const k = "4f9b3a2f-1c77-4a53-9a8e-5f6d2c3e6f43" // an id that would be an event's
	for _, c := range []struct {
		id      events.CommandID
		agent   events.AgentID
		command sagas.Command
	}{
		{"make-a", "a", sagas.Create{Agent: "a", Config: events.AgentConfig{Model: "fake/one"}}},
		{"make-b", "b", sagas.Create{Agent: "b", Config: events.AgentConfig{Model: "fake/one"}}},
		{k, "a", say("first")},
		{k, "a", say("first")},
		{k, "a", say("second")},
		{k, "a", sagas.Cancel{}},
		{k, "b", say("first")},
		{k, "b", say("third")},
		{"plain", "b", say("fourth")},
		{"plain", "b", say("fourth")},
	} {
		if _, err := sender.Send(t.Context(), c.id, actors.Origin{}, Command{events.AgentStream(c.agent), c.command}); err != nil {
			t.Fatal(err)
		}
	}
	replies := subscriber(t, groupsOf(t, journal), "test")
	messages := subscribe(t, replies, "reply-local")
	var got []string
	for range 8 {
		m := <-messages
		var r Reply
		if err := json.Unmarshal(m.Payload, &r); err != nil {
			t.Fatal(err)
		}
		got = append(got, strings.TrimPrefix(m.Metadata[TypeKey], "command.")+" "+string(r.Command)+r.Code)
		m.Ack()
	}
	cancel()
	if err := errors.Join(replies.Close(), <-ended); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	want := []string{ // an agent's are in order; those of two are not
		"accepted make-a", "accepted make-b", "accepted " + k, "refused " + k + "id_reused", "refused " + k + "id_reused",
		"accepted " + k, "refused " + k + "id_reused", "accepted plain",
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("replies:\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	closing, stop := context.WithTimeout(context.WithoutCancel(t.Context()), 10*time.Second)
	defer stop()
	if err := host.Close(closing); err != nil {
		t.Error(err)
	}
}
