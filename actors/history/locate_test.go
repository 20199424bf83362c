package history_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"example.com/life/actors/actorstest"
	"example.com/life/actors/history"
	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/sagas"
	"example.com/life/sagas/world"
)

// seeded stores the history of a world, and returns the streams of its agents.
func seeded(t *testing.T, memory *actorstest.Memory, c world.Config) map[events.AgentID][]events.Envelope {
	t.Helper()
	made, streams := world.New(c), map[events.AgentID][]events.Envelope{}
	for {
		batch, err := made.Next()
		if err != nil {
			t.Fatal(err)
		}
		if len(batch) == 0 {
			return streams
		}
		if _, err := memory.Append(t.Context(), batch[0].Stream, storage.ExpectAny, batch); err != nil {
			t.Fatal(err)
		}
		if agent, is := batch[0].Stream.Agent(); is {
			streams[agent] = append(streams[agent], batch...)
		}
	}
}

// stretch is where a moment should stand.
type stretch struct{ first, last events.Revision }

// turnsOf finds turns and rounds the slow way.
func turnsOf(t *testing.T, recorded []events.Envelope) map[string]stretch {
	t.Helper()
	found := map[string]stretch{}
	turn, ended, asked := 0, true, map[events.RequestID]string{}
	for i := range recorded {
		e := &recorded[i]
		event, err := e.Event()
		if err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprintf("turn:%d", turn)
		switch event := event.(type) {
		case events.TurnStarted:
			turn, ended = event.Turn.Number(), false
			first := e.Revision
			for first > 0 && recorded[first-1].Command == e.Command && !strings.Contains(recorded[first-1].Correlation, "/") {
				first--
			}
			found[fmt.Sprintf("turn:%d", turn)] = stretch{first, e.Revision}
			continue
		case events.TurnEnded:
			found[name], ended = stretch{found[name].first, e.Revision}, true
		case events.ModelRequested:
			key := fmt.Sprintf("%s.%d", name, event.Round)
			asked[events.RequestID(e.Ref())] = key
			if _, again := found["?"+key]; !again {
				found["?"+key] = stretch{e.Revision, 0}
			}
		case events.ModelReplied:
			key := asked[event.Request]
			found[key] = stretch{found["?"+key].first, e.Revision}
		}
		if !ended && turn > 0 { // it has come so far
			found[name] = stretch{found[name].first, e.Revision}
		}
	}
	for key := range found {
		if key[0] == '?' {
			delete(found, key)
		}
	}
	return found
}

func resolve(t *testing.T, host *history.Reader, agent events.AgentID, text string) (history.Stretch, error) {
	t.Helper()
	m, err := history.ParseMoment(text, time.Unix(0, 0).UTC())
	if err != nil {
		t.Fatal(err)
	}
	return host.Resolve(t.Context(), agent, m)
}

// TestResolve finds every turn, every round and many times of a world's agents where a reader of all history finds them.
func TestResolve(t *testing.T) {
	memory := actorstest.NewMemory()
	streams := seeded(t, memory, world.Config{Seed: 5, Agents: 6, Events: 4000})
	host := reader(memory, memory)
	turns, rounds := 0, 0
	for agent, recorded := range streams {
		for text, want := range turnsOf(t, recorded) {
			at, err := resolve(t, host, agent, text)
			if err != nil || at.First != want.first || at.Revision != want.last || at.Kind != recorded[want.last].Kind || at.Time != recorded[want.last].Time {
				t.Errorf("%s at %s: %+v, %v; want %v", agent, text, at, err, want)
			}
			if turns++; strings.Contains(text, ".") {
				rounds++
			}
		}
		for i := range recorded {
			exact := history.FormatMoment(events.Moment{Form: events.MomentTime, Begin: recorded[i].Time, End: recorded[i].Time + 1})
			at, err := resolve(t, host, agent, exact)
			if err != nil || at.First > events.Revision(i) || at.Revision < events.Revision(i) || at.Time != recorded[i].Time ||
				at.First > 0 && recorded[at.First-1].Time >= recorded[i].Time || int(at.Revision)+1 < len(recorded) && recorded[at.Revision+1].Time <= at.Time {
				t.Fatalf("%s at %s: %+v, %v; want the events of that time, with revision %d", agent, exact, at, err, i)
			}
		}
		end, err := host.Resolve(t.Context(), agent, events.Moment{})
		if last := events.Revision(len(recorded) - 1); err != nil || end.Revision != last || end.First != last {
			t.Errorf("the end of %s: %+v, %v; want %d", agent, end, err, last)
		}
	}
	if turns < 100 || rounds < 50 {
		t.Errorf("%d turns and rounds, %d rounds: this history proves little", turns, rounds)
	}
}

// TestResolveRefuses asks for moments that never were.
func TestResolveRefuses(t *testing.T) {
	host, w := tellTo(t)
	w.create("demo")
	refused := func(agent events.AgentID, text, want string) {
		t.Helper()
		at, err := resolve(t, host, agent, text)
		var refusal *sagas.RefusalError
		if !errors.As(err, &refusal) || !strings.Contains(refusal.Detail, want) {
			t.Errorf("%s at %s: %+v, %v; want %q", agent, text, at, err, want)
		}
	}
	refused("demo", "turn:1", "agent demo has no turn yet")
	turn, request := w.begin("demo", "go")
	w.reply("demo", request, `"text":"wait","stop":"end"`)
	w.reply("demo", w.ask("demo", turn, 2), `"text":"done","stop":"end"`)
	w.end("demo", turn)
	refused("nobody", "", "there is no agent nobody")
	refused("NOBODY", "3", "invalid id")
	refused("demo", "1000", "the history of agent demo ends at revision")
	refused("demo", "1969-01-01", "agent demo did not exist at 1969-01-01T00:00:00.000Z: its history begins at 1970")
	refused("demo", "turn:2", "agent demo has no turn 2: its history holds turns 1 to 1")
	refused("demo", "turn:1.3", "turn demo/1 has no round 3: it has 2")
	if at, err := resolve(t, host, "demo", "9999-01-01"); err != nil || at.First != at.Revision+1 {
		t.Errorf("in a time to come: %+v, %v; want the end", at, err)
	}
}

// TestWholeDays: a part of history from one time to another begins with the first event of the first and ends with the last of the second.
// The same days and minutes are found event by event.
func TestWholeDays(t *testing.T) {
	memory := actorstest.NewMemory()
	host := reader(memory, memory)
	for agent, recorded := range seeded(t, memory, world.Config{Seed: 5, Agents: 3, Events: 1500}) {
		for i := 0; i < len(recorded); i += 7 {
			at := time.UnixMicro(int64(recorded[i].Time)).UTC()
			for _, form := range []string{"2006-01", "2006-01-02", "2006-01-02T15", "2006-01-02 15:04", "2006-01-02T15:04:05"} {
				text := at.Format(form)
				var want stretch
				for want.first = 0; time.UnixMicro(int64(recorded[want.first].Time)).UTC().Format(form) < text; want.first++ {
				}
				for want.last = events.Revision(len(recorded) - 1); time.UnixMicro(int64(recorded[want.last].Time)).UTC().Format(form) > text; want.last-- {
				}
				to, err := resolve(t, host, agent, text)
				from, problem := resolve(t, host, agent, text+"/..")
				if err != nil || problem != nil || from.First != want.first || to.First != want.first || to.Revision != want.last || from.Revision != events.Revision(len(recorded)-1) {
					t.Fatalf("%s at %s: from %+v, %v to %+v, %v; want %+v", agent, text, from, problem, to, err, want)
				}
			}
		}
		if from, err := resolve(t, host, agent, "1950-01-01/.."); err != nil || from.First != 0 || from.Before() != 0 {
			t.Errorf("from before everything: %+v, %v", from, err)
		}
	}
}

// TestParseMoment reads what people write, and says what they may write.
func TestParseMoment(t *testing.T) {
	zone := time.FixedZone("there", 2*3600)
	now := time.Date(2026, 11, 26, 16, 5, 0, 0, zone)
	at := func(length events.Micros, date ...int) events.Moment {
		begin := events.Micros(time.Date(date[0], time.Month(date[1]), date[2], date[3], date[4], date[5], date[6]*1000, zone).UnixMicro())
		return events.Moment{Form: events.MomentTime, Begin: begin, End: begin + length}
	}
	for text, want := range map[string]events.Moment{
		"":                             {},
		"0":                            events.AtRevision(0),
		"5120":                         events.AtRevision(5120),
		"turn:3":                       {Form: events.MomentTurn, Turn: 3},
		"turn:3.12":                    {Form: events.MomentTurn, Turn: 3, Round: 12},
		"14:02:11":                     at(events.Second, 2026, 11, 26, 14, 2, 11, 0),
		"14:02":                        at(60*events.Second, 2026, 11, 26, 14, 2, 0, 0),
		"2026-02-03 14:02":             at(60*events.Second, 2026, 2, 3, 14, 2, 0, 0),
		"2026-02-03T12:02Z":            at(60*events.Second, 2026, 2, 3, 14, 2, 0, 0),
		"2026-02-03T14":                at(3600*events.Second, 2026, 2, 3, 14, 0, 0, 0),
		"2026-02":                      at(28*24*3600*events.Second, 2026, 2, 1, 0, 0, 0, 0),
		"2026-02-03/2026-02-05":        at(2*24*3600*events.Second, 2026, 2, 3, 0, 0, 0, 0),
		"2026-02-03/..":                at(0, 2026, 2, 3, 0, 0, 0, 0).Onward(),
		"14:02:11.5":                   at(1, 2026, 11, 26, 14, 2, 11, 500_000),
		"2026-11-26T12:02:11Z":         at(events.Second, 2026, 11, 26, 14, 2, 11, 0),
		"2026-11-26T12:02:11.000007Z":  at(1, 2026, 11, 26, 14, 2, 11, 7),
		"2026-11-26T13:02:11+01:00":    at(events.Second, 2026, 11, 26, 14, 2, 11, 0),
		"2026-02-03T14:02:11":          at(events.Second, 2026, 2, 3, 14, 2, 11, 0),
		"2026-02-03 14:02:11":          at(events.Second, 2026, 2, 3, 14, 2, 11, 0),
		"2026-02-03":                   at(24*3600*events.Second, 2026, 2, 3, 0, 0, 0, 0),
		"2026-02-03 14:02:11.25+02:00": at(1, 2026, 2, 3, 14, 2, 11, 250_000),
	} {
		got, err := history.ParseMoment(text, now)
		if err != nil || got != want {
			t.Errorf("%q: %+v, %v; want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{
		"yesterday", "-1", "+1", "07", "1.5", "turn", "turn:", "turn:0", "turn:1.0", "turn:1.", "turn:01", "turn:1.1.1", "turn:-1", "turn:99999999999",
		"14", "2026-02-03/", "2026-02-03/2026-02-03", "2026-02-04/2026-02-03", "../2026-02-03", "14:62", "25:00:00", "2026-13-01", "2026-11-26T14:02:11z", " 5", "9223372036854775807", strings.Repeat("x", 500),
	} {
		_, err := history.ParseMoment(text, now)
		var refusal *sagas.RefusalError
		if text == "14" {
			continue // a revision
		}
		if !errors.As(err, &refusal) || !strings.Contains(err.Error(), "turn:3.1") || len(err.Error()) > 300 {
			t.Errorf("%q: %v; want an error that shows the forms", text, err)
		}
	}
}

// TestFormatMoment writes moments that are read the same elsewhere, tomorrow.
func TestFormatMoment(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		begin := events.Micros(rapid.Int64Range(-60_000_000_000_000_000, 250_000_000_000_000_000).Draw(t, "time"))
		second := begin - begin%events.Second
		if second > begin {
			second -= events.Second
		}
		m := rapid.SampledFrom([]events.Moment{
			{},
			events.AtRevision(events.Revision(rapid.Int64Range(0, 1<<62-1).Draw(t, "revision"))),
			{Form: events.MomentTime, Begin: begin, End: begin + 1},
			{Form: events.MomentTime, Begin: second, End: second + events.Second},
			{Form: events.MomentTime, Begin: begin, End: begin + events.Micros(rapid.Int64Range(2, 1<<50).Draw(t, "length"))},
			events.Moment{Form: events.MomentTime, Begin: begin, End: begin + 1}.Onward(),
			{Form: events.MomentTurn, Turn: rapid.IntRange(1, 1<<31-1).Draw(t, "turn"), Round: rapid.IntRange(0, 1<<31-1).Draw(t, "round")},
		}).Draw(t, "moment")
		text := history.FormatMoment(m)
		if read, err := history.ParseMoment(text, time.Date(2031, 5, 6, 7, 8, 9, 0, time.FixedZone("", -5*3600))); err != nil || read != m {
			t.Fatalf("%q: %+v, %v; want %+v", text, read, err, m)
		}
	})
}

func FuzzParseMoment(f *testing.F) {
	for _, text := range []string{"31", "14:02:11", "2026-11-26T14:02:11Z", "turn:3", "turn:3.1", "2026-11-26", "2026-11", "2026-11-26T14", "14:02", "2026-11-26/..", "2026-11-26/2027-01-01", "9999-12-31", "x"} {
		f.Add(text)
	}
	now := time.Date(2026, 11, 26, 16, 5, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, text string) {
		m, err := history.ParseMoment(text, now)
		if err != nil {
			return
		}
		if again, err := history.ParseMoment(history.FormatMoment(m), now); err != nil || again != m {
			t.Fatalf("%q is %+v, written %q it is %+v, %v", text, m, history.FormatMoment(m), again, err)
		}
	})
}
