package cmd

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"example.com/life/actors"
	"example.com/life/actors/actorstest"
	"example.com/life/actors/storage"
	"example.com/life/adapters/blobs"
	"example.com/life/adapters/embedded"
	"example.com/life/adapters/providers"
	"example.com/life/cmd/stores"
	"example.com/life/events"
	"example.com/life/sagas"
	"example.com/life/sagas/world"
)

// flipped is a data directory in which one byte is changed at a time. The store's files are in memory.
type flipped struct {
	dir    string
	files  map[string][]byte // below the directory
	whole  []events.Envelope // everything in it, the store's own events too
	states map[events.AgentID]string
	models actors.Models
	looked int
}

// newFlipped makes a store with tables, a log, snapshots and blobs: a history that was made up, and an agent that lived on.
func newFlipped(t *testing.T) *flipped {
	dir := t.TempDir()
	models, err := providers.New(providers.Config{})
	if err != nil {
		t.Fatal(err)
	}
	store, err := embedded.Open(embedded.Config{Dir: filepath.Join(dir, stores.StoreName), Memory: 128 << 10})
	if err != nil {
		t.Fatal(err)
	}
	made := world.New(world.Config{Seed: 11, Agents: 4, Events: 1500})
	for {
		batch, err := made.Next()
		if err != nil {
			t.Fatal(err)
		}
		if len(batch) == 0 {
			break
		}
		if err := store.Import(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := newRig(t.Context(), dir, -1)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.agent(t.Context(), "late"); err != nil {
		t.Fatal(err)
	}
	turns := 0
	if err := r.turns(t.Context(), "late", func() bool { turns++; return turns < 4 }, func(time.Duration) {}); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"large ", "larger "} { // more than an event holds
		send := sagas.Send{Meta: newMeta(""), Verb: events.Collect, Text: events.Text{Inline: strings.Repeat(text, 8000)}}
		if _, err := r.Do(t.Context(), "agent-late", send, actors.Origin{Actor: "test"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	f := &flipped{dir: dir, files: map[string][]byte{}, models: models}
	f.read(t)
	found := f.find(t, f.files)
	if found != "" {
		t.Fatalf("before anything was changed: %s", found)
	}
	return f
}

func (f *flipped) read(t *testing.T) {
	err := filepath.WalkDir(f.dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(f.dir, name)
		f.files[relative] = content
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// find opens the store with these files and returns what names the damage; empty when nothing does. Then history has to be what it was.
func (f *flipped) find(t *testing.T, files map[string][]byte) string {
	t.Helper()
	disk := vfs.NewMem()
	for name, content := range files {
		if !strings.HasPrefix(name, stores.StoreName+"/") {
			continue
		}
		if err := disk.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		file, err := disk.Create(name, vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := file.Write(content); err != nil {
			t.Fatal(err)
		}
		if err := file.Close(); err != nil {
			t.Fatal(err)
		}
	}
	store, err := embedded.Open(embedded.Config{Dir: stores.StoreName, FS: disk, Reserve: -1})
	if err != nil {
		return "open: " + err.Error()
	}
	defer func() { _ = store.Close() }()
	kept, err := blobs.Open(filepath.Join(f.dir, stores.BlobsName))
	if err != nil {
		t.Fatal(err)
	}
	host, err := actors.New(t.Context(), actors.Config{Masker: actorstest.Unmasked{}, Journal: store, Snapshots: store, Blobs: kept, Models: f.models, Resting: true})
	if err != nil {
		return "start: " + err.Error()
	}
	l := &stores.Local{Host: host, Journal: store, Store: store, Blobs: kept}
	defer func() { _ = host.Close(context.WithoutCancel(t.Context())) }()
	var found []string
	if report, err := l.Verify(t.Context(), "", nil); err != nil {
		found = append(found, "verify: "+err.Error())
	} else {
		for _, d := range report.Failures {
			found = append(found, fmt.Sprintf("verify: %s %s %s", events.NewRef(d.Stream, d.Revision), d.What, d.Detail))
		}
	}
	f.looked++
	if len(found) > 0 && f.looked%8 > 0 {
		return strings.Join(found, "\n") // a check takes seconds: Pebble looks for the changed bit each time it reads the block
	}
	report, err := l.CheckStore(t.Context(), nil)
	if err != nil {
		found = append(found, "check: "+err.Error())
	}
	if len(found) > 0 && err == nil && len(report.Damage) == 0 {
		t.Errorf("the check finds nothing where verify finds %s", found)
	}
	for _, d := range report.Damage {
		found = append(found, "check: "+d.Problem)
	}
	if len(found) > 0 {
		return strings.Join(found, "\n")
	}
	f.compare(t, store, host)
	return ""
}

// compare reads everything, and fails if it is not what it was.
func (f *flipped) compare(t *testing.T, store *embedded.Store, host *actors.Host) {
	t.Helper()
	var all []events.Envelope
	for from := storage.Start(); ; {
		page, err := store.ReadAll(t.Context(), from, storage.Forward, storage.Filter{System: true}, storage.Limit{})
		if err != nil {
			t.Fatal(err)
		}
		all, from = append(all, page.Events...), page.Next
		if page.End {
			break
		}
	}
	states := map[events.AgentID]string{}
	for i := range all {
		agent, ok := all[i].Stream.Agent()
		if !ok || all[i].Revision > 0 {
			continue
		}
		state, err := host.State(t.Context(), agent, events.NoRevision)
		if err != nil {
			t.Fatal(err)
		}
		states[agent] = asJSON(t, state)
	}
	if f.whole == nil {
		f.whole, f.states = all, states
		return
	}
	if asJSON(t, all) != asJSON(t, f.whole) {
		t.Error("nothing is named, and history is another")
	}
	if !maps.Equal(states, f.states) {
		t.Error("nothing is named, and the states of agents are others")
	}
}

func asJSON(t *testing.T, value any) string {
	t.Helper()
	encoded, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(encoded)
}

// TestEveryByteCounts changes one byte of a closed store at a time, anywhere in its files. Each change is named with its place, or
// the byte is one of those that carry nothing (see carries), and history is what it was. LIFE_FLIPS=10 makes ten times as many
// changes.
func TestEveryByteCounts(t *testing.T) {
	f := newFlipped(t)
	times := 1
	if more, err := strconv.Atoi(os.Getenv("LIFE_FLIPS")); err == nil {
		times = more
	}
	classes := map[string][]string{}
	for name, content := range f.files {
		if len(content) > 0 {
			classes[classOf(name)] = append(classes[classOf(name)], name)
		}
	}
	for _, each := range []struct {
		class string
		flips int
	}{
		{"table", 12},
		{"log", 12},
		{"manifest", 24},
		{"options", 10},
		{"snapshots", 24},
		{"blob", 20},
		{"LIFE_FORMAT", 8},
		{"LIFE_LAST", 8},
		{"LIFE_LOCK", 3},
		{"LIFE_SNAPSHOTS", 8},
	} {
		class, flips := each.class, each.flips*times
		if len(classes[class]) == 0 {
			t.Errorf("the store has no %s: %v", class, classes)
			continue
		}
		t.Run(class, func(t *testing.T) {
			r, outcomes := rand.New(rand.NewPCG(uint64(flips), 7)), map[string]int{}
			for range flips {
				name := pickOne(r, slices.Sorted(slices.Values(classes[class])))
				end := len(f.files[name])
				if written := len(bytes.TrimRight(f.files[name], "\x00")); class == "log" && r.IntN(10) > 0 {
					end = written // most of the rest is room
				}
				outcomes[f.flip(t, name, r.IntN(end), byte(1+r.IntN(255)))]++
			}
			t.Logf("%d bytes changed: %v", flips, outcomes)
		})
		delete(classes, class)
	}
	for class, names := range classes {
		t.Errorf("%s is of no kind that this test knows: %v", class, names)
	}
}

func pickOne(r *rand.Rand, names []string) string { return names[r.IntN(len(names))] }

// carries is what a byte of a store is for, if nothing of history depends on it.
func (f *flipped) carries(name string, at int) (nothing string) {
	switch class := classOf(name); {
	case class == "LIFE_LOCK":
		return "the process that had the store last"
	case class == "snapshots", class == "LIFE_SNAPSHOTS":
		return "a cache of folds"
	case class == "options":
		return "Pebble's settings when the store was written"
	case class == "manifest" && name != f.current("MANIFEST"):
		return "a manifest before the current one"
	case class == "log" && name != f.current("log"):
		return "a log whose events are in tables"
	case class == "log" && at >= len(bytes.TrimRight(f.files[name], "\x00"))-8:
		return "the mark behind the end of the log, and room for what will be logged"
	}
	return ""
}

// current is the newest file of a kind in the journal.
func (f *flipped) current(kind string) string {
	names := slices.Sorted(maps.Keys(f.files))
	for _, name := range slices.Backward(names) {
		if strings.Contains(filepath.Base(name), kind) && strings.HasPrefix(name, stores.StoreName+"/journal/") {
			return name
		}
	}
	return ""
}

// anyPlace is how a place in a store is named: an event, a block of a table, a position, a file.
var anyPlace = regexp.MustCompile(`[a-z]+-[a-z0-9@._-]+@[0-9]+|block [0-9]+/[0-9]+|file [0-9]{6}|positions? [0-9]+|MANIFEST-[0-9]+|LIFE_[A-Z]+|[0-9]{6}\.log`)

// flip changes a byte, and fails unless that is named or carries nothing.
func (f *flipped) flip(t *testing.T, name string, at int, bits byte) string {
	t.Helper()
	changed := maps.Clone(f.files)
	changed[name] = slices.Clone(f.files[name])
	changed[name][at] ^= bits
	if strings.HasPrefix(name, stores.BlobsName+"/") {
		if err := os.WriteFile(filepath.Join(f.dir, name), changed[name], 0o600); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := os.WriteFile(filepath.Join(f.dir, name), f.files[name], 0o600); err != nil {
				t.Fatal(err)
			}
		}()
	}
	found := f.find(t, changed)
	nothing := f.carries(name, at)
	switch how, _, _ := strings.Cut(found, ":"); {
	case found == "" && nothing == "":
		t.Errorf("%s: byte %d of %d was changed by %#x, and nothing names it", name, at, len(f.files[name]), bits)
		return "missed"
	case found == "":
		return nothing
	case !anyPlace.MatchString(found) && nothing == "":
		t.Errorf("%s: byte %d of %d was changed by %#x, and no place is named: %s", name, at, len(f.files[name]), bits, found)
		return how
	default:
		return "named by " + how
	}
}

// classOf sorts files by what they are for.
func classOf(name string) string {
	base := filepath.Base(name)
	switch {
	case strings.HasPrefix(name, stores.BlobsName+"/"):
		return "blob"
	case strings.HasPrefix(name, filepath.Join(stores.StoreName, stores.SnapshotsName)+"/"):
		return "snapshots"
	case strings.HasSuffix(base, ".sst"):
		return "table"
	case strings.HasSuffix(base, ".log"):
		return "log"
	case strings.HasPrefix(base, "MANIFEST"):
		return "manifest"
	case strings.HasPrefix(base, "OPTIONS"):
		return "options"
	}
	return base
}
