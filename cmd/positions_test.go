package cmd

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"example.com/life/cmd/bench"
	"example.com/life/cmd/stores"
	"example.com/life/events"
)

// TestPositionsNamed: wherever a person names a position, every number has a meaning, whether an event is there or not, over a store whose
// positions follow one another, one with gaps, and one behind the protocol.
func TestPositionsNamed(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("HOME", dir)
	t.Setenv("LIFE_STORE", stores.InData)
	t.Setenv("LIFE_USER", "ada")
	dense, gaps := filepath.Join(dir, "dense"), filepath.Join(dir, "gaps")
	t.Setenv("LIFE_DATA", dense)
	must(t, "sample", filepath.Join(dir, "ws"))
	must(t, "run", "--agent", "demo", "--workspace", filepath.Join(dir, "ws"), "--model", "scripted/tour", "Take the tour")
	must(t, "wallet", "credit", "main", "5")
	spread(t, dense, gaps)
	served, err := startStoreServerHere(filepath.Join(dir, "served"), bench.AnyPort)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = served.Kill() })
	must(t, "store", "copy", dense, served.Address)
	for name, store := range map[string]struct {
		store, data string
		beyond      events.Position
	}{
		"dense":  {stores.InData, dense, math.MaxUint64},
		"gaps":   {stores.InData, gaps, 1 << 63},
		"served": {served.Address, filepath.Join(dir, "host"), 1 << 62},
	} {
		late := laterThanAll(t, store.store, store.data, store.beyond)
		t.Run(name, func(t *testing.T) {
			t.Setenv("LIFE_STORE", store.store)
			t.Setenv("LIFE_DATA", store.data)
			p := named{t: t}
			p.read()
			for _, n := range p.edges() {
				p.export(n)
				p.query(n)
				p.step(n)
			}
			p.refused()
			late(t)
		})
	}
}

// laterThanAll asks, in a process of its own and on a copy of the data directory, for an answer as of a position beyond the end, for
// which it waits ten seconds. What is returned looks at how that ended.
func laterThanAll(t *testing.T, store, data string, beyond events.Position) func(t *testing.T) {
	t.Helper()
	binary, err := exec.LookPath("life")
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), "data")
	if err := os.CopyFS(copied, os.DirFS(data)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	var said bytes.Buffer
	cmd := exec.CommandContext(t.Context(), binary, "projections", "query", "balance", "--json", "--min", fmt.Sprint(beyond))
	cmd.Env, cmd.Stdout, cmd.Stderr = append(os.Environ(), "LIFE_STORE="+store, "LIFE_DATA="+copied), &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return func(t *testing.T) {
		_ = cmd.Wait()
		if cmd.ProcessState.ExitCode() != exitError || !strings.Contains(said.String(), "projection balance ") {
			t.Errorf("query --min %d, beyond the end, ends with status %d:\n%s", beyond, cmd.ProcessState.ExitCode(), &said)
		}
	}
}

// spread copies a store with a gap before each event.
func spread(t *testing.T, from, to string) {
	t.Helper()
	source := openStore(t, from)
	target := openStore(t, to)
	err := stores.Everything(t.Context(), source, 1, func(e *events.Envelope) error {
		moved := *e
		moved.Position = 10*e.Position + 3
		return target.Import(t.Context(), []events.Envelope{moved})
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := source.Close(); err != nil {
		t.Fatal(err)
	}
	if err := target.Close(); err != nil {
		t.Fatal(err)
	}
}

// named is a store whose positions are named by people.
type named struct {
	t       *testing.T
	all     []events.Envelope
	answers map[events.Position]string // of the projection balance, as of the positions of events
}

func (p *named) read() {
	p.t.Helper()
	for _, e := range decodeLines[events.Envelope](p.t, must(p.t, "store", "export")) {
		if e.Stream != "" {
			p.all = append(p.all, e)
		}
	}
	p.answers = map[events.Position]string{}
	if now, last := p.asked(), p.asOf(&p.all[len(p.all)-1]); now != last {
		p.t.Errorf("now balance answers %s, as of the last event %s", now, last)
	}
}

// asOf is the projection's answer as of an event.
func (p *named) asOf(e *events.Envelope) string {
	p.t.Helper()
	if _, known := p.answers[e.Position]; !known {
		p.answers[e.Position] = p.asked("--at", fmt.Sprint(e.Position))
	}
	return p.answers[e.Position]
}

// asked is what the projection answers, without the position up to which.
func (p *named) asked(flags ...string) string {
	p.t.Helper()
	var answer struct {
		Events string
		Answer json.RawMessage
	}
	said := must(p.t, append([]string{"projections", "query", "balance", "--json"}, flags...)...)
	if err := json.Unmarshal([]byte(said), &answer); err != nil {
		p.t.Fatal(err)
	}
	return answer.Events + " events: " + string(answer.Answer)
}

// edges are numbers at and around the positions that there are, and at the ends of what a number can be.
func (p *named) edges() []events.Position {
	first, middle, last := p.all[0].Position, p.all[len(p.all)/2].Position, p.all[len(p.all)-1].Position
	edges := []events.Position{
		0, 1, first - 1, first, first + 1, middle - 1, middle, middle + 1, last - 1, last, last + 1, 1 << 62, math.MaxInt64, 1 << 63, math.MaxUint64 - 1, math.MaxUint64,
	}
	slices.Sort(edges)
	return slices.Compact(edges)
}

// export writes what is at a position and behind it.
func (p *named) export(from events.Position) {
	p.t.Helper()
	var want, got []events.EventID
	for i := range p.all {
		if p.all[i].Position >= from {
			want = append(want, p.all[i].ID)
		}
	}
	for _, e := range decodeLines[events.Envelope](p.t, must(p.t, "store", "export", "--from", fmt.Sprint(from))) {
		if e.Stream != "" {
			got = append(got, e.ID)
		}
	}
	if !slices.Equal(got, want) {
		p.t.Errorf("export --from %d writes %d events, want the last %d of %d", from, len(got), len(want), len(p.all))
	}
}

// query answers as of the last event up to a position.
func (p *named) query(at events.Position) {
	p.t.Helper()
	if at == 0 {
		return // refused
	}
	want := `0 events: {"wallets":[]}`
	for i := range slices.Backward(p.all) {
		if p.all[i].Position <= at {
			want = p.asOf(&p.all[i])
			break
		}
	}
	if got := p.asked("--at", fmt.Sprint(at)); got != want {
		p.t.Errorf("query --at %d answers %s, want %s", at, got, want)
	}
	last := p.all[len(p.all)-1].Position
	if at > last {
		return // laterThanAll
	}
	status, out, errs := life(p.t, "projections", "query", "balance", "--json", "--min", fmt.Sprint(at))
	if status != exitDone {
		p.t.Errorf("query --min %d, where the last event is at %d: status %d\n%s%s", at, last, status, out, errs)
	}
}

// step shows the first event that the projection folds from a position on.
func (p *named) step(from events.Position) {
	p.t.Helper()
	var stepped struct{ Steps []struct{ Position string } }
	if err := json.Unmarshal([]byte(must(p.t, "projections", "step", "balance", "--json", "--from", fmt.Sprint(from))), &stepped); err != nil {
		p.t.Fatal(err)
	}
	want := ""
	for i := range p.all {
		if strings.HasPrefix(string(p.all[i].Stream), "wallet-") && p.all[i].Position >= from {
			want = fmt.Sprint(p.all[i].Position)
			break
		}
	}
	if got := slices.Concat(stepped.Steps); want == "" && len(got) > 0 || want != "" && (len(got) != 1 || got[0].Position != want) {
		p.t.Errorf("step --from %d shows %v, want position %q", from, got, want)
	}
}

// refused are numbers that are no positions.
func (p *named) refused() {
	p.t.Helper()
	for _, call := range [][]string{
		{"store", "export", "--from", "18446744073709551616"},
		{"store", "export", "--from", "-1"},
		{"projections", "query", "balance", "--at", "0"},
		{"projections", "query", "balance", "--at", "18446744073709551616"},
		{"projections", "query", "balance", "--min", "0"},
		{"projections", "query", "balance", "--min", "99999999999999999999999999"},
		{"projections", "step", "balance", "--from", "1e3"},
		{"projections", "skip", "balance", "0", "--reason", "x"},
		{"knowledge", "search", "x", "--at", "0"},
	} {
		if status, _, errs := life(p.t, call...); status != exitUsage || !strings.Contains(errs, "a position must be a number from") {
			p.t.Errorf("life %s: status %d, %s", strings.Join(call, " "), status, errs)
		}
	}
	beyond := strconv.FormatUint(uint64(p.all[len(p.all)-1].Position)+1, 10)
	for _, n := range []string{beyond, "4611686018427387904", "9223372036854775808", "18446744073709551615"} {
		if status, _, errs := life(p.t, "projections", "skip", "balance", n, "--reason", "x"); status != exitError || !strings.Contains(errs, "there is no event at position "+n) {
			p.t.Errorf("skip %s: status %d, %s", n, status, errs)
		}
	}
	if _, err := os.Stat(filepath.Join(os.Getenv("LIFE_DATA"), stores.StoreName)); os.Getenv("LIFE_STORE") != stores.InData && err == nil {
		p.t.Error("a store was made in the data directory of a host that has its events elsewhere")
	}
}
