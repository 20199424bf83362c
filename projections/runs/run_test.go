package runs_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"example.com/life/events"
	"example.com/life/projections/runs"
)

// TestRuns runs testdata/runs/*.txt, which say how two runs compare. After an intended change run go test ./projections/runs -rewrite and
// read the difference before it is committed.
//
//	run NAME        tells what an agent did, see author; told again, it goes on
//	turn NAME N     prints a turn as it is folded
//	compare A B     prints how the turns of two runs are paired, and where they differ first
//	rounds A N B M  prints how the rounds of two turns are paired, and all that differs
func TestRuns(t *testing.T) {
	files, err := filepath.Glob("testdata/runs/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("find transcripts: %v, %d files", err, len(files))
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			told := map[string]*author{}
			datadriven.RunTest(t, file, func(t *testing.T, d *datadriven.TestData) string {
				one := told[d.CmdArgs[0].Key]
				switch d.Cmd {
				case "run":
					if one == nil {
						one = newAuthor(t, events.AgentID(d.CmdArgs[0].Key), d.CmdArgs[0].Key)
						told[d.CmdArgs[0].Key] = one
					}
					one.write(strings.Split(d.Input, "\n")...)
					return ""
				case "turn":
					return asRows(t, nth(t, one, d.CmdArgs[1].Key))
				case "compare":
					return compared(one.run(), told[d.CmdArgs[1].Key].run())
				case "rounds":
					return rounds(nth(t, one, d.CmdArgs[1].Key), nth(t, told[d.CmdArgs[2].Key], d.CmdArgs[3].Key))
				}
				d.Fatalf(t, "there is no command %s", d.Cmd)
				return ""
			})
		})
	}
}

func asRows(t *testing.T, value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return rows(text)
}

func nth(t *testing.T, a *author, number string) *runs.RunTurn {
	n, err := strconv.Atoi(number)
	turns := a.run()
	if err != nil || n < 1 || n > len(turns) {
		t.Fatalf("there is no turn %s of %s", number, a.agent)
	}
	return turns[n-1]
}

func compared(a, b []*runs.RunTurn) string {
	var out strings.Builder
	for _, p := range runs.AlignRuns(sketches(a), sketches(b)).Pairs() {
		fmt.Fprintf(&out, "%s ~ %s: %s", brief(p.A), brief(p.B), p.Same)
		if p.Turns > 1 {
			fmt.Fprintf(&out, ", %d turns", p.Turns)
		}
		if p.Same == runs.Differs {
			fmt.Fprintf(&out, " from round %d", p.Round)
		}
		out.WriteString("\n")
		if p.A == nil || p.B == nil || p.Same == runs.SameAll {
			continue
		}
		c := runs.CompareTurns(turnOf(a, p.A), turnOf(b, p.B))
		fmt.Fprintf(&out, "  first    %s\n  answers  %s\n", shown(c.First), shown(c.Answers))
	}
	fmt.Fprintf(&out, "equal: %v\n", runs.AlignRuns(sketches(a), sketches(b)).Equal())
	return out.String()
}

func brief(t *runs.TurnBrief) string {
	if t == nil {
		return "-"
	}
	return string(t.Turn)
}

func turnOf(all []*runs.RunTurn, t *runs.TurnBrief) *runs.RunTurn {
	for _, turn := range all {
		if turn.Turn == t.Turn {
			return turn
		}
	}
	return nil
}

func shown(d *runs.Difference) string {
	if d == nil {
		return "-"
	}
	text := string(d.What)
	if len(d.Why) > 0 {
		text += " (" + strings.Join(d.Why, ", ") + ")"
	}
	return text + ": " + side(d.A) + " | " + side(d.B)
}

func side(s *runs.Side) string {
	if s == nil {
		return "nothing"
	}
	text := fmt.Sprintf("%s round %d", s.Turn, s.Round)
	if s.Call != "" {
		text += " call " + string(s.Call)
	}
	if s.Value != "" {
		text += " " + s.Value
	}
	if s.Text != nil {
		text += fmt.Sprintf(" %q", s.Text.Preview)
	}
	return text
}

func rounds(a, b *runs.RunTurn) string {
	var out strings.Builder
	for _, p := range runs.CompareTurns(a, b).Rounds {
		fmt.Fprintf(&out, "%d ~ %d\n", p.A, p.B)
		for i := range p.Differs {
			fmt.Fprintf(&out, "  %s\n", shown(&p.Differs[i]))
		}
	}
	return out.String()
}

// rows breaks JSON into lines: one for each element of a list.
func rows(text []byte) string {
	var indented bytes.Buffer
	var open []byte
	for i, c := range text {
		switch c {
		case '[', '{':
			open = append(open, c)
		case ']', '}':
			open = open[:len(open)-1]
		}
		indented.WriteByte(c)
		inList := len(open) == 2 && open[1] == '['
		if c == '[' && inList && text[i+1] != ']' || c == ',' && (inList || len(open) == 1) {
			indented.WriteString("\n" + strings.Repeat("  ", len(open)-1))
		}
	}
	return indented.String() + "\n"
}
