package cmd

import (
	"compress/gzip"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"example.com/life/actors"
	"example.com/life/actors/actorstest"
	"example.com/life/actors/history"
	"example.com/life/adapters/embedded"
	"example.com/life/adapters/providers"
	"example.com/life/cmd/stores"
	"example.com/life/cmd/transfer"
	"example.com/life/events"
	"example.com/life/sagas/world"
)

// The corpus: histories that builds of the past recorded, in the format of life store export, one for each thing that agents do. Every
// later build has to decide them as they were decided. They are added and never changed:
//
//	go test ./cmd -run 'TestScripts/approve' -record    adds what that story recorded, as NAME@VERSION.jsonl.gz
//	go test ./cmd -run TestHistories -record            adds a made-up one, and notes the sums of all that are new
const (
	historiesDir = "testdata/histories"
	sumsFile     = historiesDir + "/SUMS"
)

var recordStories = flag.Bool("record", false, "add to testdata/histories what stories recorded; what is there is never changed")

// TestHistories verifies every history of the corpus with this build.
func TestHistories(t *testing.T) {
	if *recordStories {
		recordWorld(t)
		noteSums(t)
	}
	files, err := filepath.Glob(historiesDir + "/*.jsonl.gz")
	if err != nil || len(files) < 10 {
		t.Fatalf("the corpus has %d histories, want at least 10: %v", len(files), err)
	}
	sums, kinds := readSums(t), map[events.Kind]int{}
	for _, file := range files {
		name := filepath.Base(file)
		t.Run(name, func(t *testing.T) {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			switch sum, noted := sums[name]; {
			case !noted:
				t.Errorf("%s is not in %s: run go test ./cmd -run TestHistories -record, and commit both", name, sumsFile)
			case sum != events.HashBytes(content):
				t.Errorf("%s was changed. Histories are what builds of the past recorded: restore it, and add a new one beside it", name)
			}
			delete(sums, name)
			verifyHistory(t, file, kinds)
		})
	}
	for name := range sums {
		t.Errorf("%s is gone from the corpus: restore it; histories are never removed", name)
	}
	for _, spec := range events.Catalog {
		if kinds[spec.Kind] == 0 && !slices.Contains(rare, spec.Kind) {
			t.Errorf("no history of the corpus has %s: write a story in which it happens and record it, see above", spec.Kind)
		}
	}
}

// rare are kinds that no story records; transcripts and properties have them.
var rare = []events.Kind{"fork.skipped", "projection.skipped"}

func verifyHistory(t *testing.T, file string, kinds map[events.Kind]int) {
	t.Helper()
	store, err := embedded.Open(embedded.Config{Dir: "history", FS: vfs.NewMem(), Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	if err := transfer.ImportLines(t.Context(), store, transfer.NewLineReader(unzipped(t, file)), "", func(int64) {}); err != nil {
		t.Fatal(err)
	}
	models, err := providers.New(providers.Config{})
	if err != nil {
		t.Fatal(err)
	}
	host, err := actors.New(t.Context(), actors.Config{Masker: actorstest.Unmasked{}, Journal: store, Blobs: actorstest.NewBlobs(), Models: models, Resting: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := errors.Join(host.Close(context.WithoutCancel(t.Context())), store.Close()); err != nil {
			t.Error(err)
		}
	}()
	report, err := host.Verify(t.Context(), "", nil)
	if err != nil || report.Events == 0 {
		t.Fatalf("verified %d events, %v", report.Events, err)
	}
	for i := range report.Failures {
		d := &report.Failures[i]
		if d.What == history.ProblemBlob {
			continue // the corpus has events alone
		}
		var shown strings.Builder
		printDivergence(&shown, d)
		t.Errorf("an existing history decides differently:\n%s\nStores hold such histories. If the change is meant, keep the old decision for them: raise the version of the\n"+
			"event that says which rule holds, write an ADR, and add a history of the new way with -record.", shown.String())
	}
	if err := stores.Everything(t.Context(), store, 1, func(e *events.Envelope) error { kinds[e.Kind]++; return nil }); err != nil {
		t.Error(err)
	}
}

func unzipped(t *testing.T, file string) io.Reader {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	unzip, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	return unzip
}

// recordWorld adds a made-up history in which nearly everything happens, if there is none of this name.
func recordWorld(t *testing.T) {
	made := world.New(world.Config{Seed: 44, Agents: 8, Events: 4000})
	writeHistory(t.Fatal, "world", func(lines *transfer.LineWriter) error {
		for {
			batch, err := made.Next()
			if err != nil || len(batch) == 0 {
				return err
			}
			for i := range batch {
				if err := lines.Event(&batch[i]); err != nil {
					return err
				}
			}
		}
	})
}

// recordStory adds what a story recorded in its data directory.
func recordStory(data, story string) error {
	var failed error
	fail := func(args ...any) { failed = errors.New(fmt.Sprint(args...)) }
	store, err := embedded.Open(embedded.Config{Dir: filepath.Join(data, stores.StoreName)})
	if err != nil {
		return err
	}
	writeHistory(fail, story, func(lines *transfer.LineWriter) error {
		return stores.Everything(context.Background(), store, 1, func(e *events.Envelope) error { return lines.Event(e) })
	})
	return errors.Join(failed, store.Close())
}

// writeHistory writes a file that must not be there.
func writeHistory(fail func(...any), name string, write func(*transfer.LineWriter) error) {
	if err := os.MkdirAll(historiesDir, 0o755); err != nil {
		fail(err)
		return
	}
	file := filepath.Join(historiesDir, name+"@"+historyVersion+".jsonl.gz")
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, os.ErrExist) {
		fmt.Fprintf(os.Stderr, "%s is there already: raise historyVersion to record it anew\n", file)
		return
	}
	if err != nil {
		fail(err)
		return
	}
	zip, err := gzip.NewWriterLevel(f, gzip.BestCompression)
	if err == nil {
		var lines *transfer.LineWriter
		if lines, err = transfer.NewLineWriter(zip); err == nil {
			err = errors.Join(write(lines), lines.End())
		}
		err = errors.Join(err, zip.Close(), f.Close())
	}
	if err != nil {
		fail(err)
	}
}

// historyVersion is part of the name of what is recorded: it is raised together with the version of an event, and before a release.
const historyVersion = "0.1"

func readSums(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile(sumsFile)
	if err != nil {
		t.Fatal(err)
	}
	sums := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if sum, name, found := strings.Cut(strings.TrimSpace(line), "  "); found {
			sums[name] = sum
		}
	}
	return sums
}

// noteSums adds the sums of histories that have none.
func noteSums(t *testing.T) {
	sums := map[string]string{}
	if _, err := os.Stat(sumsFile); err == nil {
		sums = readSums(t)
	}
	files, err := filepath.Glob(historiesDir + "/*.jsonl.gz")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if name := filepath.Base(file); sums[name] == "" {
			sums[name] = events.HashBytes(content)
		}
	}
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(sums)) {
		fmt.Fprintf(&text, "%s  %s\n", sums[name], name)
	}
	if err := os.WriteFile(sumsFile, []byte(text.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}
