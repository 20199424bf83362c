package projections_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"example.com/life/events"
	"example.com/life/projections"
)

// draw makes up a history: some agents, two wallets, turns of every kind, and events that nobody knows.
func draw(t *rapid.T) []events.Envelope {
	h := newTeller(t)
	h.open("main", "a", "b")
	h.open("team", "c")
	turns := map[events.AgentID]int{}
	for range rapid.IntRange(1, 12).Draw(t, "turns") {
		agent := rapid.SampledFrom([]events.AgentID{"a", "b", "c"}).Draw(t, "agent")
		turns[agent]++
		wallet := events.WalletID("main")
		if agent == "c" {
			wallet = "team"
		}
		h.turn(agent, wallet, turns[agent], rapid.IntRange(1, 4).Draw(t, "rounds"), rapid.IntRange(0, 400).Draw(t, "trouble"))
		h.now += events.Micros(rapid.IntRange(0, 72*3600).Draw(t, "pause")) * events.Second
		switch rapid.IntRange(0, 8).Draw(t, "also") {
		case 0:
			h.record(events.WalletStream(wallet), events.WalletCredited{Amount: 3 * events.Dollar, By: "ada"})
		case 1:
			h.record(events.AgentStream(agent), events.AgentQuarantined{Reason: "it fails", Failures: 3})
		case 2:
			h.record(events.AgentStream(agent), events.ApprovalRequested{Turn: events.NewTurnID(agent, turns[agent]), Call: "9.9", Tool: "bash", Reason: "policy"})
		case 3:
			h.record(events.AgentStream(agent), events.Unknown{Of: "turn.dreamt", Version: 7, Data: json.RawMessage(`{"deep":[1]}`)})
		case 4:
			h.record("foreign-stream", events.Unknown{Of: "wallet.painted", Version: 1, Data: json.RawMessage(`"blue"`)})
		case 5, 6, 7:
			h.record(events.KnowledgeStream("local"), drawNote(t))
		}
	}
	return h.all
}

// ask returns the answers to every query of a projection, as JSON.
func ask(t *rapid.T, spec *projections.Spec, fold projections.Fold) string {
	var all strings.Builder
	for _, query := range spec.Queries {
		parameters := map[string]string{}
		for _, p := range query.Params {
			if standard := map[string]string{"turn": "a/1", "text": "the heat of a shield", "note": "a"}[p.Name]; p.Required {
				parameters[p.Name] = standard
			}
		}
		q, _, err := spec.Check(projections.Query{Name: query.Name, Parameters: parameters})
		if err != nil {
			t.Fatal(err)
		}
		answer, err := fold.Answer(q)
		if err != nil && !errors.Is(err, projections.ErrMissing) {
			t.Fatal(err)
		}
		text, err := json.Marshal(answer)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&all, "%s %s\n", query.Name, text)
	}
	return all.String()
}

// TestSavedAndRestored: a fold that was saved and restored at any points is that which folded everything at once, byte for byte,
// and answers the same.
func TestSavedAndRestored(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := draw(t)
		stops := rapid.SliceOfN(rapid.IntRange(0, len(all)), 0, 3).Draw(t, "stops")
		for i := range projections.Catalog {
			spec := &projections.Catalog[i]
			straight, kept := spec.New(), spec.New()
			for j := range all {
				if slices.Contains(stops, j) {
					kept = again(t, spec, kept)
				}
				for _, fold := range []projections.Fold{straight, kept} {
					if err := fold.Apply(&projections.Recorded{Envelope: &all[j]}); err != nil {
						t.Fatal(err)
					}
				}
			}
			one, err := straight.Save()
			other, problem := again(t, spec, kept).Save()
			if err != nil || problem != nil || !bytes.Equal(one, other) {
				t.Fatalf("%s: %v, %v\n%s\n%s", spec.Name, err, problem, one, other)
			}
			if a, b := ask(t, spec, straight), ask(t, spec, kept); a != b {
				t.Fatalf("%s answers\n%s\n%s", spec.Name, a, b)
			}
		}
	})
}

func again(t *rapid.T, spec *projections.Spec, fold projections.Fold) projections.Fold {
	state, err := fold.Save()
	if err != nil {
		t.Fatal(err)
	}
	restored := spec.New()
	if err := restored.Restore(state); err != nil {
		t.Fatal(err)
	}
	return restored
}

// TestRestoreRefuses: what is no state leaves the fold as it was.
func TestRestoreRefuses(t *testing.T) {
	for i := range projections.Catalog {
		spec := &projections.Catalog[i]
		h := newTeller(t)
		h.open("main", "a")
		h.turn("a", "main", 1, 2, 2)
		fold := spec.New()
		apply(t, spec, fold, h.all)
		before, err := fold.Save()
		if err != nil {
			t.Fatal(err)
		}
		for _, state := range []string{``, `{`, `7`, `[]`, `{"agents":7,"wallets":7,"counts":7}`} {
			if err := fold.Restore([]byte(state)); err == nil {
				t.Errorf("%s restores %q", spec.Name, state)
			}
		}
		if after, err := fold.Save(); err != nil || !bytes.Equal(before, after) {
			t.Errorf("%s: %v\n%s\n%s", spec.Name, err, before, after)
		}
	}
}

// TestBooksBalance: at every position all accounts together are zero, and what is available and held is what was credited less
// what was spent.
func TestBooksBalance(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := draw(t)
		spec, err := projections.Find("balance")
		if err != nil {
			t.Fatal(err)
		}
		fold, credited, spent := spec.New(), events.Money(0), events.Money(0)
		for i := range all {
			if err := fold.Apply(&projections.Recorded{Envelope: &all[i]}); err != nil {
				t.Fatal(err)
			}
			switch event, _ := all[i].Event(); e := event.(type) {
			case events.WalletOpened:
				credited += e.Credit
			case events.WalletCredited:
				credited += e.Amount
			case events.FundsSettled:
				spent += e.Spent
			}
			answer, err := fold.Answer(projections.Query{Name: "accounts"})
			if err != nil || answer.(projections.Accounts).Sum != 0 {
				t.Fatalf("after %s: %v, %v", all[i].Ref(), answer, err)
			}
			held := events.Money(0)
			answer, err = fold.Answer(projections.Query{Name: "wallets"})
			if err != nil {
				t.Fatal(err)
			}
			for _, wallet := range answer.(projections.WalletBalances).Wallets {
				held += wallet.Available + wallet.Held
			}
			if held != credited-spent {
				t.Fatalf("after %s: %s held, %s credited, %s spent", all[i].Ref(), held, credited, spent)
			}
		}
	})
}

// TestSpendingAgrees: what agents counted reply by reply is what their wallets paid.
func TestSpendingAgrees(t *testing.T) {
	h := newTeller(t)
	h.open("main", "a", "b")
	for number := range 40 {
		h.turn([]events.AgentID{"a", "b"}[number%2], "main", number/2+1, 1+number%4, number)
	}
	totals := map[string]events.Money{}
	for name, query := range map[string]string{"spending": "spending", "balance": "wallets"} {
		spec, err := projections.Find(name)
		if err != nil {
			t.Fatal(err)
		}
		fold := spec.New()
		apply(t, spec, fold, h.all)
		answer, err := fold.Answer(projections.Query{Name: query})
		if err != nil {
			t.Fatal(err)
		}
		switch answer := answer.(type) {
		case projections.Spending:
			totals["replies"] = answer.Total.Cost
			tools, err := fold.Answer(projections.Query{Name: "tools"})
			if err != nil {
				t.Fatal(err)
			}
			totals["tools"] = tools.(projections.ToolSpending).Total.Cost
		case projections.WalletBalances:
			totals["wallet"] = answer.Wallets[0].Spent
		}
	}
	if totals["replies"] == 0 || totals["replies"] != totals["wallet"] || totals["tools"] != totals["wallet"] {
		t.Error(totals)
	}
}

// TestPoison: an event that a projection needs and cannot read stops it, is named, and changes nothing.
func TestPoison(t *testing.T) {
	for name, poison := range map[string]events.Envelope{
		"balance":   {Stream: "wallet-main", Revision: 3, Kind: "funds.settled"},
		"spending":  {Stream: "agent-a", Revision: 3, Kind: "model.replied"},
		"mode":      {Stream: "agent-a", Revision: 3, Kind: "advice.given"},
		"approvals": {Stream: "agent-a", Revision: 3, Kind: "approval.requested"},
		"waterfall": {Stream: "agent-a", Revision: 3, Kind: "tool.returned"},
		"failures":  {Stream: "agent-a", Revision: 3, Kind: "model.failed"},
		"knowledge": {Stream: "knowledge-a", Revision: 3, Kind: "note.written"},
	} {
		spec, err := projections.Find(name)
		if err != nil {
			t.Fatal(err)
		}
		fold := spec.New()
		before, _ := fold.Save()
		poison.Version, poison.Position, poison.Data = 1, 77, json.RawMessage(`{"request":7,"turn":7,"note":7}`)
		err = fold.Apply(&projections.Recorded{Envelope: &poison})
		var named *projections.PoisonError
		if !errors.As(err, &named) || named.Event != poison.Ref() || named.Position != 77 || named.Kind != poison.Kind || named.Unwrap() == nil ||
			!strings.Contains(err.Error(), string(poison.Ref())) {
			t.Errorf("%s: %v", name, err)
		}
		if after, _ := fold.Save(); !bytes.Equal(before, after) {
			t.Errorf("%s is %s after poison, was %s", name, after, before)
		}
	}
}

// TestCatalog: names are plain, and every query says what it takes and answers what it declares.
func TestCatalog(t *testing.T) {
	for i := range projections.Catalog {
		spec := &projections.Catalog[i]
		if found, err := projections.Find(spec.Name); err != nil || found != spec || spec.Version < 1 || spec.Description == "" || len(spec.Kinds) == 0 {
			t.Errorf("%+v, %v", spec, err)
		}
		h := newTeller(t)
		h.open("main", "a")
		h.turn("a", "main", 1, 2, 2)
		h.record(events.KnowledgeStream("local"), events.NoteWritten{Note: events.Note{ID: "a", Title: "A"}})
		fold := spec.New()
		apply(t, spec, fold, h.all)
		for _, query := range spec.Queries {
			answer, err := fold.Answer(projections.Query{Name: query.Name, Parameters: map[string]string{"turn": "a/1", "note": "a"}})
			if err != nil || fmt.Sprintf("%T", answer) != fmt.Sprintf("%T", query.Answer) {
				t.Errorf("%s %s answers %T, want %T (%v)", spec.Name, query.Name, answer, query.Answer, err)
			}
			for _, p := range query.Params {
				if p.Name == "query" || p.Name == "at" || p.Name == "progress" || p.Description == "" {
					t.Errorf("%s %s: parameter %+v", spec.Name, query.Name, p)
				}
			}
		}
	}
}

// TestQueriesAreChecked: errors say what there is.
func TestQueriesAreChecked(t *testing.T) {
	for _, test := range []struct{ projection, query, parameter, value, inError string }{
		{"balances", "", "", "", "there are balance, spending, mode"},
		{"balance", "sum", "", "", "there are wallets, accounts, days"},
		{"balance", "days", "color", "red", `no parameter "color"; there are wallet, from, to`},
		{"balance", "days", "from", "yesterday", "want a day such as 2026-01-31"},
		{"balance", "days", "from", "2026-02-29", "want a day"},
		{"balance", "wallets", "wallet", "Main", "wallet name"},
		{"spending", "spending", "by", "day,day", "each once"},
		{"spending", "tools", "by", "wallet", "day, agent, tool"},
		{"spending", "tools", "tool", "", "want a name"},
		{"mode", "agents", "time", "noon", "2026-01-31T14:02:11Z"},
		{"mode", "agents", "time", "2026-01-31T24:00:00Z", "2026-01-31T14:02:11Z"},
		{"waterfall", "turn", "", "", "needs turn="},
		{"waterfall", "turn", "turn", "demo", "such as demo/3"},
		{"failures", "latest", "limit", "0", "a number from 1"},
		{"roster", "agents", "agent", "NOBODY", "agent name"},
		{"knowledge", "search", "", "", "needs text="},
		{"knowledge", "traverse", "note", "", "want a name"},
		{"knowledge", "lint", "valid", "2026-13-01", "a day such as 2026-01-31"},
		{"knowledge", "lint", "days", "0", "from 1 to 36500"},
	} {
		spec, err := projections.Find(test.projection)
		if err == nil {
			q := projections.Query{Name: test.query, Parameters: map[string]string{}}
			if test.parameter != "" {
				q.Parameters[test.parameter] = test.value
			}
			_, _, err = spec.Check(q)
			if err != nil && !errors.Is(err, projections.ErrQuery) {
				t.Errorf("%v is no ErrQuery", err)
			}
		}
		if err == nil || !strings.Contains(err.Error(), test.inError) {
			t.Errorf("%+v: %v", test, err)
		}
	}
}

// TestDays compares days with what a calendar counts, one by one.
func TestDays(t *testing.T) {
	day, lengths := projections.Day(0), [...]int{31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31}
	check := func(year, month, date int) {
		want := fmt.Sprintf("%04d-%02d-%02d", year, month+1, date)
		if got := day.String(); got != want {
			t.Fatalf("day %d is %s, want %s", day, got, want)
		}
		if read, err := projections.ParseDay(want); err != nil || read != day {
			t.Fatalf("%s is day %d, want %d (%v)", want, read, day, err)
		}
	}
	length := func(year, month int) int {
		if month == 1 && year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return lengths[month]
	}
	for year := 1970; year < 2405; year++ {
		for month := range 12 {
			for date := range length(year, month) {
				check(year, month, date+1)
				day++
			}
		}
	}
	day = 0
	for year := 1969; year >= 0; year-- {
		for month := 11; month >= 0; month-- {
			for date := length(year, month); date > 0; date-- {
				day--
				check(year, month, date)
			}
		}
	}
	for at, want := range map[events.Micros]string{
		-1: "1969-12-31", 0: "1970-01-01", 86_400_000_000 - 1: "1970-01-01", -1 << 63: "0000-01-01", 1<<63 - 1: "9999-12-31",
	} {
		if got := projections.DayOf(at).String(); got != want {
			t.Errorf("%d is on %s, want %s", at, got, want)
		}
	}
}
