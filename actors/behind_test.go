package actors_test

import (
	"errors"
	"testing"

	"example.com/life/actors"
	"example.com/life/actors/actorstest"
	"example.com/life/events"
	"example.com/life/sagas"
)

// twoHosts are two hosts on one store. The first one has worked with the agent demo, whose calls of echo wait for a person.
func twoHosts(t *testing.T) (a, b *actors.Host, ran func() int64) {
	t.Helper()
	tool, runs := counting()
	config := actors.Config{Journal: actorstest.NewMemory(), Blobs: actorstest.NewBlobs(), Models: oneModel{actorstest.FakeModel(twoRounds)}, Tools: []actors.Tool{tool}}
	a, b = start(t, config), start(t, config)
	made := create("demo", "echo")
	made.Config.Policy.Ask = []string{"echo"}
	do(t, a, "demo", made)
	return a, b, runs.Load
}

// waitsAtB has the second host begin a turn, whose call waits.
func waitsAtB(t *testing.T, b *actors.Host, id string) {
	t.Helper()
	feed := watch(t, b, "demo")
	do(t, b, "demo", say(id, "go"))
	until(t, feed, func(e events.Event) bool { return e.Kind() == "approval.requested" })
}

// TestRefusedAtTheEnd: a host whose fold is behind, because another host went on, refuses nothing that is right at the end of the stream.
func TestRefusedAtTheEnd(t *testing.T) {
	for name, command := range map[string]sagas.Command{
		"approve":          sagas.Approve{Meta: meta("c"), Call: "1.1"},
		"approve, bound":   sagas.Approve{Meta: meta("c"), Turn: "demo/1", Call: "1.1"},
		"deny":             sagas.Deny{Meta: meta("c"), Turn: "demo/1", Call: "1.1"},
		"cancel":           sagas.Cancel{Meta: meta("c")},
		"cancel that turn": sagas.Cancel{Meta: meta("c"), Turn: "demo/1"},
	} {
		t.Run(name, func(t *testing.T) {
			a, b, ran := twoHosts(t)
			waitsAtB(t, b, "m1")
			feed := watch(t, a, "demo")
			do(t, a, "demo", command)
			until(t, feed, ended)
			if _, approved := command.(sagas.Approve); approved != (ran() == 1) {
				t.Errorf("the tool ran %d times", ran())
			}
			again, err := a.Do(t.Context(), "agent-demo", command, actors.Origin{})
			if err != nil || !again.Duplicate {
				t.Errorf("sent again: %+v, %v", again, err)
			}
		})
	}
}

// TestRefusedAllTheSame: what is wrong at the end of the stream is refused, by the one that is behind too.
func TestRefusedAllTheSame(t *testing.T) {
	a, b, ran := twoHosts(t)
	waitsAtB(t, b, "m1")
	for name, test := range map[string]struct {
		command sagas.Command
		code    sagas.RefusalCode
	}{
		"another call":      {sagas.Approve{Meta: meta("c1"), Call: "9.9"}, sagas.RefusedState},
		"another turn":      {sagas.Approve{Meta: meta("c2"), Turn: "demo/2", Call: "1.1"}, sagas.RefusedMismatch},
		"another digest":    {sagas.Approve{Meta: meta("c3"), Call: "1.1", Digest: "00"}, sagas.RefusedMismatch},
		"nothing is paused": {sagas.Approve{Meta: meta("c4")}, sagas.RefusedState},
		"it exists":         {sagas.Create{Meta: meta("c5"), Agent: "demo", Config: events.AgentConfig{Model: "fake/two"}}, sagas.RefusedExists},
	} {
		var refusal *sagas.RefusalError
		if _, err := a.Do(t.Context(), "agent-demo", test.command, actors.Origin{}); !errors.As(err, &refusal) || refusal.Code != test.code {
			t.Errorf("%s: %v", name, err)
		}
	}
	if ran() != 0 {
		t.Errorf("the tool ran %d times", ran())
	}
}

// TestRefusedElsewhere: wallets and notes refuse, and say that nothing is new, at the end of their streams only.
func TestRefusedElsewhere(t *testing.T) {
	a, b, _ := twoHosts(t)
	wallet := events.WalletStream("team")
	credit := func(id string) sagas.Command { return sagas.Credit{Meta: meta(id), Amount: events.Dollar} }
	var refusal *sagas.RefusalError
	if _, err := a.Do(t.Context(), wallet, credit("early"), actors.Origin{}); !errors.As(err, &refusal) {
		t.Fatalf("before the wallet is opened: %v", err)
	}
	if _, err := b.Do(t.Context(), wallet, sagas.OpenWallet{Meta: meta("open"), Wallet: "team"}, actors.Origin{}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Do(t.Context(), wallet, credit("later"), actors.Origin{}); err != nil {
		t.Errorf("another host opened it: %v", err)
	}

	notes := events.KnowledgeStream("local")
	keep := func(id, text string) sagas.Command {
		return sagas.KeepNotes{Meta: meta(id), Write: []events.Note{{ID: "n", Title: "N", Text: events.Text{Inline: text}}}}
	}
	for _, step := range []struct {
		host     *actors.Host
		id, text string
		written  int
	}{{a, "n1", "first", 1}, {a, "n2", "first", 0}, {b, "n3", "second", 1}, {a, "n4", "first", 1}, {a, "n5", "first", 0}} {
		receipt, err := step.host.Do(t.Context(), notes, keep(step.id, step.text), actors.Origin{})
		if err != nil || receipt.Written != step.written || receipt.Duplicate != (step.written == 0) {
			t.Errorf("%s: %+v, %v", step.id, receipt, err)
		}
	}
}
