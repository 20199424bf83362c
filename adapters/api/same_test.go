package api_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"example.com/life/actors"
	"example.com/life/actors/history"
	"example.com/life/actors/projector"
	"example.com/life/actors/storage"
	"example.com/life/adapters/api"
	"example.com/life/events"
	"example.com/life/projections"
	"example.com/life/projections/runs"
	"example.com/life/sagas"
)

// driver is a host, in process or behind the API.
type driver interface {
	api.Host
}

// step is something done to a host; what it answers must not depend on the way it is reached.
type step struct {
	name string
	does func(ctx context.Context, d driver) (any, error)
}

const ada, savings = events.AgentID("ada"), events.WalletID("savings")

func command(name string, stream events.Stream, c sagas.Command) step {
	return step{name, func(ctx context.Context, d driver) (any, error) {
		return d.Do(ctx, stream, c, actors.Origin{Actor: "test"})
	}}
}

func onAda(name string, c sagas.Command) step { return command(name, events.AgentStream(ada), c) }

// comes waits until an event of a kind stands at or after a revision.
func comes(kind events.Kind, after events.Revision) step {
	return step{"until " + string(kind), func(ctx context.Context, d driver) (any, error) {
		feed, err := d.Watch(ctx, ada, after)
		if err != nil {
			return nil, err
		}
		defer feed.Close()
		for {
			item, err := feed.Next(ctx)
			if err != nil || item.Event != nil && item.Event.Kind == kind {
				return nil, err
			}
		}
	}}
}

func commandSteps() []step {
	stream, wallet, notebook := events.AgentStream(ada), events.WalletStream(savings), events.KnowledgeStream("local")
	ann := events.NoteAuthor{By: "ann"}
	catalogue := events.ProjectionsStream(sagas.DefaultTenant)
	other := create(ada)
	other.Config.Prompt = "something else"
	again := other
	again.ID = "create-again"
	elsewhere := create("ben")
	blob := say("b1", "x")
	blob.Blob = &events.BlobRef{}
	verb := say("v1", "x")
	verb.Verb = "shout"
	return []step{
		onAda("message to an unknown agent", say("s0", "hello")),
		onAda("cancel an unknown agent", sagas.Cancel{Meta: meta("c0")}),
		onAda("create", create(ada)),
		onAda("create, sent again", create(ada)),
		onAda("create, its id for something else", other),
		onAda("create what exists", again),
		onAda("create in another stream", elsewhere),
		onAda("approve before anything waits", sagas.Approve{Meta: meta("a0"), Call: "1.1"}),
		onAda("resume before anything is paused", sagas.Approve{Meta: meta("a00")}),
		onAda("deny before anything waits", sagas.Deny{Meta: meta("d0")}),
		onAda("cancel with nothing running", sagas.Cancel{Meta: meta("c1")}),
		onAda("release without a quarantine", sagas.Release{Meta: meta("r0")}),
		onAda("message", say("s1", "call")),
		comes("approval.requested", 0),
		onAda("message, sent again", say("s1", "call")),
		onAda("message, its id for something else", say("s1", "other")),
		onAda("approve other arguments", sagas.Approve{Meta: meta("a1"), Call: "1.1", Digest: "00"}),
		onAda("cancel another turn", sagas.Cancel{Meta: meta("c2"), Turn: "ada/9"}),
		onAda("approve", sagas.Approve{Meta: meta("a2"), Call: "1.1", By: "ann"}),
		comes("turn.ended", 0),
		comes("settlement.recorded", 0),
		onAda("empty message", say("s2", "")),
		onAda("message with a blob", blob),
		onAda("message with an unknown verb", verb),
		onAda("configure", sagas.Configure{Meta: meta("f1"), Config: events.AgentConfig{Model: "fake/one"}}),
		onAda("configure an unknown model", sagas.Configure{Meta: meta("f2"), Config: events.AgentConfig{Model: "none/none"}}),
		onAda("configure an unknown tool", sagas.Configure{Meta: meta("f3"), Config: events.AgentConfig{
			Model: "fake/one", Tools: []events.ToolGrant{{Name: "saw"}},
		}}),
		onAda("configure a negative limit", sagas.Configure{Meta: meta("f4"), Config: events.AgentConfig{
			Model: "fake/one", Limits: events.Limits{Tokens: -1},
		}}),
		onAda("a command id of the host's", say("~mine", "x")),
		onAda("a malformed command id", say("with space", "x")),
		onAda("retire", sagas.Retire{Meta: meta("e1"), Reason: "enough"}),
		onAda("message to a retired agent", say("s3", "x")),
		command("a malformed agent", "agent-ADA", say("s4", "x")),
		command("a stream without commands", "effect-1", say("s5", "x")),
		command("credit a wallet that is not open", wallet, sagas.Credit{Meta: meta("w0"), Amount: 5}),
		command("open a wallet", wallet, sagas.OpenWallet{Meta: meta("w1"), Wallet: savings, Credit: 3 * events.Dollar}),
		command("open a wallet, sent again", wallet, sagas.OpenWallet{Meta: meta("w1"), Wallet: savings, Credit: 3 * events.Dollar}),
		command("open a wallet twice", wallet, sagas.OpenWallet{Meta: meta("w2"), Wallet: savings}),
		command("credit", wallet, sagas.Credit{Meta: meta("w3"), Amount: 5, By: "ann", Memo: "gift"}),
		command("credit, sent again", wallet, sagas.Credit{Meta: meta("w3"), Amount: 5, By: "ann", Memo: "gift"}),
		command("credit, its id for something else", wallet, sagas.Credit{Meta: meta("w3"), Amount: 6}),
		command("credit nothing", wallet, sagas.Credit{Meta: meta("w4")}),
		command("notes", notebook, sagas.KeepNotes{Meta: meta("n1"), Author: ann, Write: []events.Note{{
			ID: "a", Title: "A", Text: events.Text{Inline: "See [[b]]."}, Tags: []string{"t"}, Aliases: []string{"alpha"},
			Links: []events.NoteLink{{Relation: "supports", Target: "c", Exclusive: true, Validity: events.Validity{From: 5}}}, Validity: events.Validity{To: 7},
			Source: events.NoteFile{Collection: "files", Path: "a.md"},
		}}}),
		command("notes, sent again", notebook, sagas.KeepNotes{Meta: meta("n1"), Author: ann, Write: []events.Note{{ID: "a", Title: "A"}}}),
		command("notes as they are", notebook, sagas.KeepNotes{Meta: meta("n2"), Author: ann, Write: []events.Note{{ID: "x", Title: "X"}}}),
		command("the same notes", notebook, sagas.KeepNotes{Meta: meta("n3"), Author: ann, Write: []events.Note{{ID: "x", Title: "X"}}}),
		command("a note without a title", notebook, sagas.KeepNotes{Meta: meta("n4"), Author: ann, Write: []events.Note{{ID: "y"}}}),
		command("remove a note", notebook, sagas.KeepNotes{Meta: meta("n5"), Author: ann, Remove: []sagas.NoteRemoval{{Note: "x", Reason: "old"}}}),
		command("remove no note", notebook, sagas.KeepNotes{Meta: meta("n6"), Author: ann, Remove: []sagas.NoteRemoval{{Note: "x", Reason: "old"}}}),
		command("remove another's note", notebook, sagas.KeepNotes{
			Meta: meta("n7"), Author: ann, Remove: []sagas.NoteRemoval{{Note: "a", Reason: "old", Collection: "others"}},
		}),
		command("no notes at all", notebook, sagas.KeepNotes{Meta: meta("n8"), Author: ann}),
		command("an agent's command to a wallet", wallet, sagas.Retire{Meta: meta("w5")}),
		command("a wallet's command to an agent", stream, sagas.Credit{Meta: meta("w6"), Amount: 1}),
		command("an internal command", stream, sagas.Tick{Meta: meta("w7")}),
		command("add a projection", catalogue, sagas.AddProjection{Meta: meta("p1"), Source: events.Text{Inline: "name: x"}}),
		command("skip without a reason", catalogue, sagas.SkipEvent{Meta: meta("p2"), Name: "balance", Position: 1, By: "ann"}),
		command("skip nothing", catalogue, sagas.SkipEvent{Meta: meta("p3"), Name: "balance", Reason: "r", By: "ann"}),
		command("skip what is not there", catalogue, sagas.SkipEvent{Meta: meta("p4"), Name: "balance", Position: 99999, Reason: "r", By: "ann"}),
		command("skip in no projection", catalogue, sagas.SkipEvent{Meta: meta("p5"), Name: "none", Position: 1, Reason: "r", By: "ann"}),
		command("skip", catalogue, sagas.SkipEvent{Meta: meta("p6"), Name: "balance", Position: 1, Reason: "r", By: "ann"}),
		command("skip, sent again", catalogue, sagas.SkipEvent{Meta: meta("p6"), Name: "balance", Position: 1, Reason: "r", By: "ann"}),
		command("skip twice", catalogue, sagas.SkipEvent{Meta: meta("p7"), Name: "balance", Position: 1, Reason: "r", By: "ann"}),
		command("remove what was not declared", catalogue, sagas.RemoveProjection{Meta: meta("p8"), Name: "balance"}),
		command("another tenant's projections", events.ProjectionsStream("other"), sagas.RemoveProjection{Meta: meta("p9"), Name: "balance"}),
	}
}

func readSteps() []step {
	pageOf := func(name string, stream events.Stream, from events.Revision, direction storage.Direction, limit storage.Limit) step {
		return step{"history: " + name, func(ctx context.Context, d driver) (any, error) {
			return d.History(ctx, stream, from, direction, limit)
		}}
	}
	state := func(name string, agent events.AgentID, at events.Revision) step {
		return step{"state: " + name, func(ctx context.Context, d driver) (any, error) { return d.State(ctx, agent, at) }}
	}
	resolve := func(agent events.AgentID, text string) step {
		return step{"moment " + text, func(ctx context.Context, d driver) (any, error) {
			m, err := history.ParseMoment(text, time.Now())
			if err != nil {
				return nil, err
			}
			return d.Resolve(ctx, agent, m)
		}}
	}
	diff := func(agent events.AgentID, from, to string) step {
		return step{"diff " + from + " " + to, func(ctx context.Context, d driver) (any, error) {
			begin, err := history.ParseMoment(from, time.Now())
			if err != nil {
				return nil, err
			}
			end, err := history.ParseMoment(to, time.Now())
			if err != nil {
				return nil, err
			}
			return d.Difference(ctx, agent, begin, end, nil)
		}}
	}
	waterfall := func(turn events.TurnID) step {
		return step{"waterfall " + string(turn), func(ctx context.Context, d driver) (any, error) { return d.Waterfall(ctx, turn) }}
	}
	groups := func(agent events.AgentID, order history.GroupOrder) step {
		return step{fmt.Sprintf("groups of %s %+v", agent, order), func(ctx context.Context, d driver) (any, error) { return d.Groups(ctx, agent, order) }}
	}
	search := func(agent events.AgentID, order history.Search) step {
		return step{fmt.Sprintf("search %s %+v", agent, order), func(ctx context.Context, d driver) (any, error) { return d.Search(ctx, agent, order) }}
	}
	causes := func(event events.Ref) step {
		return step{"causes of " + string(event), func(ctx context.Context, d driver) (any, error) { return d.Causes(ctx, event, nil) }}
	}
	effects := func(event events.Ref) step {
		return step{"effects of " + string(event), func(ctx context.Context, d driver) (any, error) { return d.Effects(ctx, event, nil) }}
	}
	wallet := func(id events.WalletID) step {
		return step{"wallet " + string(id), func(ctx context.Context, d driver) (any, error) { return d.Wallet(ctx, id) }}
	}
	verify := func(agent events.AgentID) step {
		return step{"verify " + string(agent), func(ctx context.Context, d driver) (any, error) { return d.Verify(ctx, agent, nil) }}
	}
	project := func(name, query string, at events.Position, parameters ...string) step {
		asked := projections.Query{Name: query, Parameters: map[string]string{}}
		for i := 0; i < len(parameters); i += 2 {
			asked.Parameters[parameters[i]] = parameters[i+1]
		}
		return step{fmt.Sprint("project ", name, query, parameters), func(ctx context.Context, d driver) (any, error) {
			return d.Query(ctx, projector.Question{Projection: name, Query: asked, At: at}, nil)
		}}
	}
	compare := func(a, b events.AgentID, turn events.TurnID) step {
		return step{fmt.Sprint("compare ", a, b, turn), func(ctx context.Context, d driver) (any, error) {
			return d.Compare(ctx, history.CompareOrder{A: a, B: b, Turn: turn, Pairs: 3}, nil)
		}}
	}
	stream := events.AgentStream(ada)
	return []step{
		compare(ada, ada, ""), compare(ada, "nobody", ""), compare(ada, "NOBODY", ""), compare(ada, "bea", ""), compare("bea", ada, "bea/1"), compare("bea", ada, "bea/7"),
		project("balance", "", 0), project("balance", "accounts", 0), project("balance", "accounts", 3), project("balance", "days", 0, "wallet", "main"),
		project("roster", "agents", 0), project("waterfall", "turns", 0, "limit", "2"), project("waterfall", "turn", 0, "turn", "ada/1"),
		project("waterfall", "turn", 0, "turn", "nobody/7"), project("spending", "spending", 0, "by", "day,model"), project("failures", "", 0),
		project("approvals", "waiting", 0, "agent", "ada"), project("mode", "changes", 0), project("mode", "", 0, "time", "noon"),
		project("balances", "", 0), project("balance", "sum", 0), project("balance", "days", 0, "color", "red"),
		{"agents", func(ctx context.Context, d driver) (any, error) { return d.Agents(ctx, projections.AgentFilter{}) }},
		{"step", func(ctx context.Context, d driver) (any, error) { return d.Step(ctx, "balance", 1, 3) }},
		{"step in nothing", func(ctx context.Context, d driver) (any, error) { return d.Step(ctx, "none", 1, 3) }},
		{"how one stands", func(ctx context.Context, d driver) (any, error) {
			shown, err := d.Projection(ctx, "balance")
			return []any{shown.Name, shown.State, shown.Position, shown.Events, shown.Skipped}, err
		}},
		{"how nothing stands", func(ctx context.Context, d driver) (any, error) { return d.Projection(ctx, "none") }},
		{"rebuild", func(ctx context.Context, d driver) (any, error) {
			rebuilt, err := d.Rebuild(ctx, []string{"balance", "mode"}, nil)
			return rebuilt.Projections, err
		}},
		{"rebuild nothing", func(ctx context.Context, d driver) (any, error) { return d.Rebuild(ctx, []string{"none"}, nil) }},
		pageOf("all", stream, 0, storage.Forward, storage.Limit{}),
		pageOf("some", stream, 3, storage.Forward, storage.Limit{Events: 4}),
		pageOf("few bytes", stream, 0, storage.Forward, storage.Limit{Bytes: 10}),
		pageOf("backward", stream, 1<<62, storage.Backward, storage.Limit{Events: 3}),
		pageOf("backward from the middle", stream, 4, storage.Backward, storage.Limit{}),
		pageOf("backward from before the first", stream, -1, storage.Backward, storage.Limit{}),
		pageOf("after the end", stream, 1000, storage.Forward, storage.Limit{}),
		pageOf("a wallet", events.WalletStream(savings), 0, storage.Forward, storage.Limit{}),
		pageOf("a name with a slash", "effect-agent-ada@3/4", 0, storage.Forward, storage.Limit{}),
		pageOf("a stream that is not there", "agent-nobody", 0, storage.Forward, storage.Limit{}),
		pageOf("no stream", "", 0, storage.Forward, storage.Limit{}),
		state("at the end", ada, events.NoRevision),
		state("at the beginning", ada, 0),
		state("in the middle", ada, 9),
		state("after the end", ada, 1000),
		state("unknown", "nobody", events.NoRevision),
		state("malformed", "NOBODY", events.NoRevision),
		resolve(ada, ""), resolve(ada, "3"), resolve(ada, "1000"), resolve(ada, "turn:1"), resolve(ada, "turn:1.1"), resolve(ada, "turn:1.9"),
		resolve(ada, "turn:2"), resolve(ada, "2001-01-01"), resolve(ada, "9001-01-01"), resolve("nobody", "turn:1"), resolve("NOBODY", "0"),
		groups(ada, history.GroupOrder{Last: -1}), groups(ada, history.GroupOrder{Last: 9, Limit: 1}), groups(ada, history.GroupOrder{First: 3, Last: -1, Forward: true}),
		groups("nobody", history.GroupOrder{}), groups("NOBODY", history.GroupOrder{}),
		search(ada, history.Search{Last: -1}), search(ada, history.Search{Last: -1, Reverse: true, Limit: 3}), search(ada, history.Search{First: 3, Last: 5}),
		search(ada, history.Search{Last: -1, Kinds: []string{"tool.", "turn.ended"}}), search(ada, history.Search{Last: -1, Text: "ECHO", Limit: 2}),
		search(ada, history.Search{Last: -1, Where: `kind == "tool.returned" or x`}), search("nobody", history.Search{}), search("NOBODY", history.Search{}),
		causes("agent-ada@9"), causes("agent-ada@0"), causes("wallet-main@1"), causes("agent-ada@1000"), causes("nobody@1"), causes("x"),
		effects("agent-ada@1"), effects("agent-ada@4"), effects("wallet-main@1"), effects("agent-ada@1000"), effects("x"),
		waterfall("ada/1"), waterfall("ada/9"), waterfall("nobody/1"), waterfall("ada"), waterfall("ada/01"),
		diff(ada, "0", ""), diff(ada, "1", "turn:1"), diff(ada, "3", "3"), diff(ada, "turn:1", "0"), diff(ada, "0", "1000"), diff("nobody", "0", ""),
		diff("NOBODY", "0", ""), wallet("main"), wallet(savings), wallet("nobody"), wallet("NOBODY"),
		verify(""), verify(ada), verify("nobody"),
	}
}

// result is what a step answered.
type result struct {
	Step   string
	Answer any
	Err    string // its type and text
	Is     []string
}

func run(t *testing.T, d driver, steps []step) []result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var results []result
	for _, s := range steps {
		answer, err := s.does(ctx, d)
		r := result{Step: s.name, Answer: answer}
		if err != nil {
			r.Answer = nil
			r.Err = describe(err)
		}
		for name, target := range map[string]error{"closed": storage.ErrClosed, "invalid append": storage.ErrInvalidAppend} {
			if errors.Is(err, target) {
				r.Is = append(r.Is, name)
			}
		}
		results = append(results, r)
	}
	return results
}

func describe(err error) string {
	var refusal *sagas.RefusalError
	if errors.As(err, &refusal) {
		return fmt.Sprintf("refusal %s: %s", refusal.Code, refusal.Detail)
	}
	return err.Error()
}

// internals are the parts of answers that do not cross the wire, as docs/api.md says.
func internals() cmp.Option {
	return cmp.Options{
		cmpopts.IgnoreFields(sagas.Agent{}, "Accepted"),
		cmpopts.IgnoreFields(sagas.Wallet{}, "Accounts", "Accepted"),
		cmpopts.IgnoreFields(sagas.Hold{}, "IDs", "Amounts"),
		cmpopts.IgnoreUnexported(runs.RunTurn{}, runs.RunRound{}, runs.RunMessage{}, sagas.Conversation{}),
		cmpopts.EquateEmpty(),
	}
}

// TestSameAnswers drives one host in process and another through server and client: every command is answered alike, whether it
// is accepted, refused, sent again or makes no sense at the moment.
func TestSameAnswers(t *testing.T) {
	host, behind := startHost(t), startHost(t)
	client := newClient(t, api.ClientConfig{BaseURL: serve(t, behind).URL})
	want, got := run(t, host, commandSteps()), run(t, client, commandSteps())
	for i := range want {
		if diff := cmp.Diff(normal(want[i]), normal(got[i]), internals()); diff != "" {
			t.Errorf("%s (- in process, + through the API):\n%s", want[i].Step, diff)
		}
	}
}

// normal takes out what is said in other words because the client notices before the host could.
func normal(r result) result {
	switch r.Step {
	case "an agent's command to a wallet", "a wallet's command to an agent", "an internal command", "a stream without commands",
		"create in another stream":
		if r.Err != "" || r.Step == "create in another stream" {
			r.Err, r.Answer = "refused", nil
		}
	}
	return r
}

// TestSameReads reads one host both ways.
func TestSameReads(t *testing.T) {
	host := startHost(t)
	run(t, host, commandSteps())
	do(t, host, "agent-bea", create("bea"))
	do(t, host, "agent-bea", say("s1", "hello"))
	until(t, watch(t, host, "bea", events.NoRevision), "settlement.recorded")
	client := newClient(t, api.ClientConfig{BaseURL: serve(t, host).URL})
	want, got := run(t, host, readSteps()), run(t, client, readSteps())
	for i := range want {
		if diff := cmp.Diff(want[i], got[i], internals()); diff != "" {
			t.Errorf("%s (- in process, + through the API):\n%s", want[i].Step, diff)
		}
	}
}

// TestSameStates compares the states of a turn at each of its revisions, a waiting call and a running one among them.
func TestSameStates(t *testing.T) {
	host := startHost(t)
	client := newClient(t, api.ClientConfig{BaseURL: serve(t, host).URL})
	stream := events.AgentStream(ada)
	do(t, client, stream, create(ada))
	do(t, client, stream, say("s1", "call"))
	seen := until(t, watch(t, host, ada, events.NoRevision), "approval.requested")
	do(t, client, stream, sagas.Approve{Meta: meta("a1"), Call: "1.1"})
	seen = append(seen, until(t, watch(t, host, ada, seen[len(seen)-1].Revision), "settlement.recorded")...)
	for _, envelope := range seen {
		want, err := host.State(t.Context(), ada, envelope.Revision)
		if err != nil {
			t.Fatal(err)
		}
		got, err := client.State(t.Context(), ada, envelope.Revision)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, internals()); diff != "" {
			t.Errorf("after %s:\n%s", envelope.Kind, diff)
		}
	}
}
