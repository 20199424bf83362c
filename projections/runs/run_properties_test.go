package runs_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"example.com/life/events"
	"example.com/life/projections"
	"example.com/life/projections/runs"
)

// drawRun makes up what an agent did, as lines for an author. Few words make for much that is alike.
func drawRun(t *rapid.T, most int) []string {
	word := rapid.SampledFrom([]string{"yes", "no", "so"})
	var lines []string
	for turn := range rapid.IntRange(0, most).Draw(t, "turns") {
		lines = append(lines, "message "+word.Draw(t, "message"), "start")
		for round := range rapid.IntRange(1, 3).Draw(t, "rounds") {
			if rapid.IntRange(0, 6).Draw(t, "trouble") == 0 {
				lines = append(lines, "pause limit.money", "resume")
			}
			lines = append(lines, "ask", fmt.Sprintf(`reply %s; read_file {"n":%d}`, word.Draw(t, "reply"), turn%2),
				fmt.Sprintf("sent %d.1", round+1), fmt.Sprintf("returned %d.1 %s", round+1, word.Draw(t, "result")))
		}
		lines = append(lines, "ask", "reply "+word.Draw(t, "answer"), "end done")
	}
	return lines
}

func written(t interface{ Fatal(...any) }, agent events.AgentID, salt string, lines []string) []*runs.RunTurn {
	return newAuthor(t, agent, salt).write(lines...).run()
}

// TestRunEqualsItself: told under other names, at other times, with attempts that failed and hosts that died, a run is the same.
func TestRunEqualsItself(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lines := drawRun(t, 6)
		var troubled []string
		for _, line := range lines {
			if line == "start" && rapid.IntRange(0, 4).Draw(t, "forked") == 0 {
				troubled = append(troubled, "fork")
			}
			troubled = append(troubled, line)
			if line == "ask" && rapid.IntRange(0, 4).Draw(t, "forked within") == 0 {
				troubled = append(troubled, "fork", "again")
			}
			if line == "ask" && rapid.Bool().Draw(t, "fails") {
				troubled = append(troubled, "failed overloaded", "again", "again")
			}
			if strings.HasPrefix(line, "sent ") && rapid.Bool().Draw(t, "dies") {
				call := strings.TrimPrefix(line, "sent ")
				troubled = append(troubled, "lost "+call, "approval "+call, "granted "+call, line)
			}
		}
		a, b := written(t, "ada", "x", lines), written(t, "bob", "yy", troubled)
		if !runs.AlignRuns(sketches(a), sketches(b)).Equal() {
			t.Fatalf("not equal:\n%s", compared(a, b))
		}
		for i := range a {
			if c := runs.CompareTurns(a[i], b[i]); c.First != nil || c.Answers != nil {
				t.Fatalf("%s: %s", a[i].Turn, shown(c.First))
			}
			if b[i].Turn != events.NewTurnID("bob", i+1) || b[i].Elapsed > events.Minute || b[i].Running+b[i].Queued+b[i].Person != b[i].Elapsed {
				t.Fatalf("the times of %s: %+v", b[i].Turn, b[i].TurnTimes)
			}
		}
	})
}

// TestChangedReplyIsFound: another byte in one reply is found at its turn and round, and nothing before it differs.
func TestChangedReplyIsFound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lines := drawRun(t, 6)
		turn, round := 0, 0
		type place struct{ line, turn, round int }
		var replies []place
		for i, line := range lines {
			switch {
			case line == "start":
				turn, round = turn+1, 0
			case line == "ask":
				round++
			case strings.HasPrefix(line, "reply "):
				replies = append(replies, place{i, turn, round})
			}
		}
		if len(replies) == 0 {
			return
		}
		changed := rapid.SampledFrom(replies).Draw(t, "changed")
		other := slices.Clone(lines)
		other[changed.line] = "reply " + string(lines[changed.line][6]^1) + lines[changed.line][7:]
		a, b := written(t, "ada", "x", lines), written(t, "bob", "y", other)
		for _, p := range runs.AlignRuns(sketches(a), sketches(b)).Pairs() {
			if p.Same == runs.SameAll {
				continue
			}
			if p.A == nil || p.B == nil || p.A.Turn.Number() != changed.turn || p.Same != runs.Differs || p.Round != changed.round {
				t.Fatalf("turn %d round %d was changed:\n%s", changed.turn, changed.round, compared(a, b))
			}
			c := runs.CompareTurns(turnOf(a, p.A), turnOf(b, p.B))
			if d := c.First; d == nil || d.What != runs.AspectReply || d.A.Round != changed.round || d.B.Round != changed.round {
				t.Fatalf("turn %d round %d was changed: %s", changed.turn, changed.round, shown(c.First))
			}
			return // what follows was asked something else
		}
		t.Fatalf("turn %d round %d was changed, and nothing is found", changed.turn, changed.round)
	})
}

// TestAlignment: each turn of both runs is in one pair, pairs do not cross, only equal ones stand for several, and runs that change
// places give the same pairs.
func TestAlignment(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := sketches(written(t, "ada", "x", drawRun(t, 12))), sketches(written(t, "bob", "y", drawRun(t, 12)))
		pairs := runs.AlignRuns(a, b).Pairs()
		next := [2]int{1, 1}
		for _, p := range pairs {
			for side, brief := range []*runs.TurnBrief{p.A, p.B} {
				if brief == nil {
					continue
				}
				if brief.Turn.Number() != next[side] || p.Turns != 1 && p.Same != runs.SameAll || brief.Totals.Turns != p.Turns {
					t.Fatalf("%+v comes where turn %d is expected", p, next[side])
				}
				next[side] += p.Turns
			}
		}
		if next != [2]int{len(a) + 1, len(b) + 1} {
			t.Fatalf("of %d and %d turns the pairs end before %v", len(a), len(b), next)
		}
		mirrored := runs.AlignRuns(b, a).Pairs()
		for i := range mirrored {
			p := &mirrored[i]
			p.A, p.B = p.B, p.A
			switch p.Same {
			case runs.OnlyA:
				p.Same = runs.OnlyB
			case runs.OnlyB:
				p.Same = runs.OnlyA
			default:
			}
		}
		if difference := cmp.Diff(pairs, mirrored); difference != "" {
			t.Fatalf("the other way round:\n%s", difference)
		}
	})
}

// TestDifferenceIsWhereTheSketchesSay: what the sketches say of two turns is what the turns say.
func TestDifferenceIsWhereTheSketchesSay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := written(t, "ada", "x", drawRun(t, 6)), written(t, "bob", "y", drawRun(t, 6))
		for _, p := range runs.AlignRuns(sketches(a), sketches(b)).Pairs() {
			if p.A == nil || p.B == nil || p.Turns > 1 {
				continue
			}
			c := runs.CompareTurns(turnOf(a, p.A), turnOf(b, p.B))
			back := runs.CompareTurns(turnOf(b, p.B), turnOf(a, p.A))
			if (c.First == nil) != (p.Same == runs.SameAll) || (c.Answers == nil) != (p.Same == runs.SameAll || p.Same == runs.SameAnswers) {
				t.Fatalf("%s: %s, %s", p.Same, shown(c.First), shown(c.Answers))
			}
			if c.First != nil && (c.First.What != back.First.What || !cmp.Equal(c.First.A, back.First.B) || !cmp.Equal(c.First.B, back.First.A)) {
				t.Fatalf("%s, and the other way round %s", shown(c.First), shown(back.First))
			}
			next := [2]int{1, 1}
			for _, pair := range c.Rounds {
				for side, round := range []int{pair.A, pair.B} {
					if round != 0 && round != next[side] {
						t.Fatalf("round %d comes where %d is expected", round, next[side])
					}
					next[side] += min(round, 1)
				}
			}
			if next != [2]int{p.A.Totals.Rounds + 1, p.B.Totals.Rounds + 1} {
				t.Fatalf("rounds are missing: %v of %v", next, c.Rounds)
			}
			if c.Answers != nil && p.Same == runs.Differs && p.Round != roundOf(c.Answers) {
				t.Fatalf("round %d: %s", p.Round, shown(c.Answers))
			}
		}
	})
}

func roundOf(d *runs.Difference) int {
	switch {
	case d.A == nil:
		return d.B.Round
	case d.B == nil:
		return d.A.Round
	}
	return min(d.A.Round, d.B.Round)
}

// TestLongRuns: turns are found again in runs whose table would be too large to search.
func TestLongRuns(t *testing.T) {
	var one, other []string
	turn := func(text string) []string {
		return []string{"message " + text, "start", "ask", "reply " + text, "end done"}
	}
	for i := range 2000 {
		if i%500 != 0 {
			one = append(one, turn(fmt.Sprint(i))...)
		}
		if i%400 != 1 {
			other = append(other, turn(fmt.Sprint(i))...)
		}
	}
	counts := map[runs.Sameness]int{}
	for _, p := range runs.AlignRuns(sketches(written(t, "ada", "x", one)), sketches(written(t, "bob", "y", other))).Pairs() {
		counts[p.Same] += p.Turns
	}
	want := map[runs.Sameness]int{runs.Unlike: 1, runs.SameAnswers: 2000 - 4 - 5, runs.OnlyA: 4, runs.OnlyB: 3}
	if difference := cmp.Diff(want, counts); difference != "" {
		t.Error(difference)
	}
}

// TestTurnsFoldedAgain: a turn that is folded once more, from its own events alone, is the same turn.
func TestTurnsFoldedAgain(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lines := drawRun(t, 5)
		for i := len(lines) - 1; i >= 0; i-- { // messages that come while a turn runs, and wait or join
			if strings.HasPrefix(lines[i], "sent ") {
				switch rapid.IntRange(0, 4).Draw(t, "also") {
				case 0:
					lines = slices.Insert(lines, i, "message also", "deliver")
				case 1:
					lines = slices.Insert(lines, i, "message later")
				}
			}
		}
		a := newAuthor(t, "ada", "x").write(lines...)
		for _, turn := range a.run() {
			sketch := turn.Sketch()
			fold, from := runs.NewRunFoldOf(&sketch)
			var again []*runs.RunTurn
			inside := false
			for i := range a.all {
				e := &a.all[i]
				if inside = inside || e.Ref() == from; !inside {
					continue
				}
				if err := fold.Apply(&projections.Recorded{Envelope: e}); err != nil {
					t.Fatal(err)
				}
				again = append(again, fold.Turns()...)
				if e.Ref() == sketch.Last {
					break
				}
			}
			if len(again) == 0 || asJSON(t, again[len(again)-1]) != asJSON(t, turn) || runs.CompareTurns(again[len(again)-1], turn).First != nil {
				t.Fatalf("turn %s is another one:\n%s\n%s", turn.Turn, asJSON(t, turn), asJSON(t, again))
			}
		}
	})
}

func asJSON(t *rapid.T, value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
