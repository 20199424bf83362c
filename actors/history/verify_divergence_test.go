package history_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"example.com/life/actors/actorstest"
	"example.com/life/actors/history"
	"example.com/life/events"
	"example.com/life/sagas"
	"example.com/life/sagas/cluster"
	"example.com/life/sagas/world"
)

func same(t *testing.T, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(- want, + got)\n%s", diff)
	}
}

// named is what a report names, in short.
func named(r history.VerifyReport) (all []string) {
	for _, d := range r.Failures {
		all = append(all, string(events.NewRef(d.Stream, d.Revision))+" "+string(d.What)+": "+d.Detail)
	}
	return all
}

// TestDivergences changes one thing in a history each, and expects it to be named where it is, and nothing else.
func TestDivergences(t *testing.T) {
	made := worldly(t, world.Config{Seed: 2, Agents: 3, Events: 1500})
	const agent = events.Stream("agent-agent-1")
	rewrite := func(l *ledger, i int, old, with string) {
		if !bytes.Contains(l.all[i].Data, []byte(old)) {
			t.Fatalf("%s does not have %s: %s", l.all[i].Ref(), old, l.all[i].Data)
		}
		l.all[i].Data = bytes.Replace(l.all[i].Data, []byte(old), []byte(with), 1)
	}
	for _, test := range []struct {
		name   string
		change func(l *ledger) int // the index of the event that is to be named
		what   history.Problem
		detail string
		fields []string
		state  bool
	}{
		{"a changed byte", func(l *ledger) int {
			i := l.at(t, 500, agent, "message.received")
			rewrite(l, i, `"verb":"`, `"verb":"_`)
			return i
		}, history.ProblemDigest, "was changed", nil, false},
		{"a changed kind", func(l *ledger) int {
			i := l.at(t, 500, agent, "advice.requested")
			l.all[i].Kind = "turn.paused"
			return i
		}, history.ProblemDigest, "was changed", nil, false},
		{"a missing event", func(l *ledger) int {
			i := l.at(t, 500, agent, "tool.returned")
			l.all = slices.Delete(l.all, i, i+1)
			for l.all[i].Stream != agent {
				i++
			}
			return i
		}, history.ProblemGap, "follows", nil, false},
		{"a changed decision in a chain that fits", func(l *ledger) int {
			i := l.at(t, 500, agent, "turn.ended")
			rewrite(l, i, `"tool_calls":`, `"tool_calls":10`)
			l.chain(agent)
			return i
		}, history.ProblemDecision, "decides something else for", []string{"tool_calls"}, true},
		{"another kind decided", func(l *ledger) int {
			i := l.at(t, 500, agent, "advice.requested")
			l.all[i].Kind, l.all[i].Data = "turn.paused", []byte(`{"turn":"agent-1/1","reason":"limit.time"}`)
			l.chain(agent)
			return i
		}, history.ProblemDecision, "decides something else for", nil, true},
		{"data that are none", func(l *ledger) int {
			i := l.at(t, 500, agent, "turn.started")
			l.all[i].Data = []byte(`{"turn":`)
			l.chain(agent)
			return i
		}, history.ProblemUnreadable, "decode event", nil, false},
		{"data that are none, at the beginning of a decision", func(l *ledger) int {
			i := l.at(t, 500, agent, "advice.given")
			l.all[i].Data = []byte("{\"mode\":\xff")
			l.chain(agent)
			return i
		}, history.ProblemUnreadable, "decode event", nil, false},
		{"a newer version", func(l *ledger) int {
			i := l.at(t, 500, agent, "advice.given")
			l.all[i].Version = 99
			return i
		}, history.ProblemUnknown, "this build does not know", nil, false},
		{"a kind of a newer build", func(l *ledger) int {
			l.append(agent, "~new", events.Unknown{Of: "turn.folded", Version: 1, Data: json.RawMessage(`{}`)})
			return len(l.all) - 1
		}, history.ProblemUnknown, "run a newer one", nil, false},
		{"an answer that nothing waits for", func(l *ledger) int {
			l.append(agent, "~again", events.SettlementRecorded{Request: "agent-agent-1@3"})
			return len(l.all) - 1
		}, history.ProblemRefused, "this build refuses RecordSettlement: nothing waits", nil, true},
		{"a decision that begins with no command", func(l *ledger) int {
			l.append(agent, "~odd", events.AdviceRequested{Turn: "agent-1/1"})
			return len(l.all) - 1
		}, history.ProblemRecall, "no decision begins with advice.requested", nil, true},
		{"an event too many", func(l *ledger) int {
			i := l.at(t, 500, agent, "advice.given")
			l.append(agent, "~more", events.AgentQuarantined{Reason: "trouble", Failures: 3})
			l.append(agent, "~more", events.AdviceRequested{Turn: "agent-1/1"})
			_ = i
			return len(l.all) - 1
		}, history.ProblemDecision, "this build decides 1 events for Quarantine, history holds 2", nil, true},
		{"an event of another program", func(l *ledger) int {
			l.append(agent, "", events.Unknown{Of: "order.placed", Version: 1, Data: json.RawMessage(`{}`)})
			l.all[len(l.all)-1].SetMetadata([]byte(`{"by":"another program"}`))
			return len(l.all) - 1
		}, history.ProblemForeign, "another program", nil, false},
		{"a wallet's sum", func(l *ledger) int {
			i := l.at(t, 500, "wallet-main", "funds.settled")
			rewrite(l, i, `"released":"`, `"released":"1`)
			l.chain("wallet-main")
			return i
		}, history.ProblemDecision, "decides something else for Settle", []string{"released"}, true},
		{"an effect's claim", func(l *ledger) int {
			i := slices.IndexFunc(l.all, func(e events.Envelope) bool { return e.Kind == "effect.claimed" })
			rewrite(l, i, `"host":"life"`, `"host":"evil"`)
			return i
		}, history.ProblemDigest, "was changed", nil, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := &ledger{all: slices.Clone(made.all)}
			want := l.all[test.change(l)]
			report, err := verifying(l, actorstest.NewBlobs()).Verify(t.Context(), "", nil)
			if err != nil || len(report.Failures) != 1 {
				t.Fatalf("found %v, %v; want one failure", named(report), err)
			}
			d := report.Failures[0]
			var fields []string
			for _, f := range d.Fields {
				fields = append(fields, f.Field)
			}
			if d.What != test.what || !strings.Contains(d.Detail, test.detail) || !slices.Equal(fields, test.fields) || (d.State != nil) != test.state {
				t.Errorf("found %s: %s, in fields %v, with the state %.60s", d.What, d.Detail, fields, d.State)
			}
			if d.Stream != want.Stream || d.Revision != want.Revision || d.Position != want.Position {
				t.Errorf("it is said to be at %s, and is at %s", events.NewRef(d.Stream, d.Revision), want.Ref())
			}
			if encoded, err := json.Marshal(report); err != nil || !json.Valid(encoded) {
				t.Errorf("the report is %s, %v", encoded, err)
			}
		})
	}
}

// TestDivergenceNamesItsBuild: whose decision differs is said, by the host in the event and the build that the host named as it joined.
func TestDivergenceNamesItsBuild(t *testing.T) {
	const agent = events.Stream("agent-agent-1")
	l := worldly(t, world.Config{Seed: 2, Agents: 2, Events: 1000})
	i := l.at(t, 500, agent, "turn.ended")
	l.all[i].Data, l.all[i].Host = bytes.Replace(l.all[i].Data, []byte(`"tool_calls":`), []byte(`"tool_calls":10`), 1), "books-2#1"
	l.chain(agent)
	for _, test := range []struct {
		name   string
		joined map[events.Stream][]events.HostJoined
		build  string
	}{
		{"no cluster's stream", nil, ""},
		{"one", map[events.Stream][]events.HostJoined{"cluster-main": {{Name: "books-1", Build: "v1"}, {Name: "books-2", Build: "v2"}}}, "v2"},
		{"another host of that revision", map[events.Stream][]events.HostJoined{"cluster-main": {{Name: "books-1", Build: "v1"}, {Name: "books-3", Build: "v2"}}}, ""},
		{"the same id in two clusters", map[events.Stream][]events.HostJoined{
			"cluster-main": {{Name: "books-1", Build: "v1"}, {Name: "books-2", Build: "v2"}}, "cluster-test": {{Name: "x", Build: "v3"}, {Name: "books-2", Build: "v2"}},
		}, "v2"},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := &ledger{all: slices.Clone(l.all)}
			for _, stream := range []events.Stream{"cluster-main", "cluster-test"} {
				for _, joined := range test.joined[stream] {
					l.append(stream, "", joined)
				}
			}
			report, err := verifying(l, actorstest.NewBlobs()).Verify(t.Context(), "agent-1", nil)
			if err != nil || len(report.Failures) != 1 || report.Failures[0].Host != "books-2#1" || report.Failures[0].Build != test.build {
				t.Errorf("%+v, %v; want build %q", report.Failures, err, test.build)
			}
		})
	}
}

// TestStateBeforeDivergence: the state in a report is the fold of what was before the decision.
func TestStateBeforeDivergence(t *testing.T) {
	const agent = events.Stream("agent-agent-0")
	l := worldly(t, world.Config{Seed: 4, Agents: 2, Events: 2000})
	i := l.at(t, 700, agent, "model.replied")
	for l.all[i].Stream != agent || l.all[i].Kind != "tool.requested" { // in the midst of a decision
		i++
	}
	l.all[i].Data = []byte(`{"turn":"agent-0/1","call":"1.1","tool":"bash","arguments":{}}`)
	l.chain(agent)
	report, err := verifying(l, actorstest.NewBlobs()).Verify(t.Context(), "agent-0", nil)
	if err != nil || len(report.Failures) != 1 || report.Failures[0].Decided == nil {
		t.Fatalf("found %v, %v", named(report), err)
	}
	d := report.Failures[0]
	saga := sagas.NewAgent()
	for j := range l.all {
		if l.all[j].Stream == agent && l.all[j].Revision < d.First {
			fact, err := sagas.FactOf(&l.all[j])
			if err != nil {
				t.Fatal(err)
			}
			saga = saga.Apply(fact)
		}
	}
	want, err := json.Marshal(saga)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != string(d.State) || d.First >= d.Revision || d.Revision != l.all[i].Revision {
		t.Errorf("the state before %d, of which %d differs, is\n%s\nwant\n%s", d.First, d.Revision, d.State, want)
	}
}

// TestVerifyRawQuarantine: what a host recorded because it could not decide is counted, not decided again and not passed over.
func TestVerifyRawQuarantine(t *testing.T) {
	const agent = events.Stream("agent-agent-1")
	l := worldly(t, world.Config{Seed: 2, Agents: 3, Events: 1000})
	l.append(agent, "~circuit@1", events.AgentQuarantined{Reason: "decided", Failures: 3})
	l.append(agent, "~circuit", events.AgentQuarantined{Reason: "recorded by a build that could not read it", Failures: 3})
	report, err := verifying(l, actorstest.NewBlobs()).Verify(t.Context(), "", nil)
	if err != nil || len(report.Failures) != 0 || report.Raw != 1 {
		t.Errorf("found %v, %d raw, %v", named(report), report.Raw, err)
	}
}

// TestVerifyBlobs: blobs that are missing, damaged or of another size are named with the event that refers to them.
func TestVerifyBlobs(t *testing.T) {
	const agent = events.Stream("agent-agent-1")
	blobs := actorstest.NewBlobs()
	good, err := blobs.Put(t.Context(), "text/plain", strings.NewReader("what was said at length"))
	if err != nil {
		t.Fatal(err)
	}
	larger := good
	larger.Size++
	missing := events.BlobRef{Hash: events.HashBytes([]byte("gone")), Size: 4, Media: "text/plain"}
	l := worldly(t, world.Config{Seed: 2, Agents: 3, Events: 1000})
	for _, ref := range []events.BlobRef{good, missing, larger, good} {
		l.append(agent, "~", events.MessageReceived{Message: "m1", Verb: events.Collect, Text: events.Text{Inline: "…", Blob: &ref}})
		l.all[len(l.all)-1].Command = events.CommandID("send-" + ref.Hash[:5] + string(rune('a'+len(l.all)%26)))
	}
	report, err := verifying(l, blobs).Verify(t.Context(), "", nil)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, d := range report.Failures {
		if d.What == history.ProblemBlob {
			found = append(found, d.Detail)
		}
	}
	if len(found) != 1 || !strings.Contains(found[0], missing.Hash) || !strings.Contains(found[0], "missing") || report.Blobs != 2 {
		t.Errorf("found %v, read %d blobs", found, report.Blobs)
	}
}

// TestVerifyCluster: the decisions of a cluster are decided again, joins of older builds and under the name of a dead host included.
func TestVerifyCluster(t *testing.T) {
	const stream = events.Stream("cluster-books")
	l := worldly(t, world.Config{Seed: 2, Agents: 1, Events: 10})
	view := cluster.NewView("books")
	decide := func(command sagas.Command) {
		t.Helper()
		decided, err := view.Decide(command)
		if err != nil {
			t.Fatal(err)
		}
		for _, event := range decided {
			l.append(stream, command.Metadata().ID, event)
			view = view.Apply(sagas.Fact{Event: event, Revision: view.Epoch + 1, Command: command.Metadata().ID})
		}
	}
	join := func(name string, knows int) events.HostJoined {
		return events.HostJoined{
			Name: name, Peer: name + ":1", Weight: 1, Build: "b", Protocol: events.ProtocolRange{Oldest: 1, Newest: 1}, Fence: 5 * events.Second,
			Silent: events.Second, Catalogue: []events.KindVersion{{Of: "turn.ended", Version: knows}},
		}
	}
	decide(cluster.Join{Meta: sagas.Meta{ID: "1"}, Host: join("a", 3)})
	decide(cluster.Join{Meta: sagas.Meta{ID: "2"}, Host: join("b", 2), Older: true})
	decide(cluster.Pin{Meta: sagas.Meta{ID: "3"}, Stream: "agent-demo", To: []events.Label{{Name: "zone", Value: "eu"}, {Name: "host", Value: "a"}}, By: "ann"})
	decide(cluster.Drain{Meta: sagas.Meta{ID: "4"}, Host: "a#0", By: "ann"})
	decide(cluster.Join{Meta: sagas.Meta{ID: "5"}, Host: join("a", 3), Dead: "a#0"})
	decide(cluster.Remove{Meta: sagas.Meta{ID: "6"}, Host: "b#1", By: "a#5", Because: events.RemovedSilent, Confirmed: []events.HostID{"a#5"}, Detail: "no answer for 1001 ms"})
	decide(cluster.Unpin{Meta: sagas.Meta{ID: "7"}, Stream: "agent-demo"})
	before := len(l.all)
	decide(cluster.Leave{Meta: sagas.Meta{ID: "8"}, Host: "a#5"})
	report, err := verifying(l, actorstest.NewBlobs()).Verify(t.Context(), "", nil)
	if err != nil || len(report.Failures) != 0 {
		t.Fatalf("found %v, %v", named(report), err)
	}
	l.all = l.all[:before]
	l.append(stream, "8", events.HostRemoved{Host: "a#5", By: "b#1", Because: events.RemovedSilent}) // which was removed before
	report, err = verifying(l, actorstest.NewBlobs()).Verify(t.Context(), "", nil)
	if err != nil || len(report.Failures) != 1 || report.Failures[0].What != history.ProblemRefused {
		t.Errorf("of a removal by a host that was removed: found %v, %v", named(report), err)
	}
}
