package embedded_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"example.com/life/actors/storage"
	"example.com/life/adapters/embedded"
	"example.com/life/events"
)

// everything reads the whole store; what it has read when an error comes is returned with it.
func everything(t *testing.T, store *embedded.Store) (all []events.Envelope, err error) {
	t.Helper()
	for from := storage.Start(); ; {
		page, err := store.ReadAll(t.Context(), from, storage.Forward, storage.Filter{}, storage.Limit{})
		all, from = append(all, page.Events...), page.Next
		if err != nil || page.End {
			return all, err
		}
	}
}

// seed makes a closed store whose events are partly in tables and partly in the log, and returns them.
func seed(t *testing.T, dir string) []events.Envelope {
	t.Helper()
	store, err := embedded.Open(embedded.Config{Dir: dir, Memory: 128 << 10})
	if err != nil {
		t.Fatal(err)
	}
	chains := make([]chain, 5)
	for i := range chains {
		chains[i].last = events.NoRevision
	}
	for i := range 600 {
		c := &chains[i%len(chains)]
		appended, err := store.Append(t.Context(), events.Stream(fmt.Sprintf("agent-%d", i%len(chains))), storage.ExpectRevision(c.last), c.next(1+i%3))
		if err != nil {
			t.Fatal(err)
		}
		c.last = appended.Last
	}
	all, err := everything(t, store)
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	return all
}

// Whatever happens to the files of a closed store, it is named or harmless; wrong events are never returned.
func TestDamageIsNamed(t *testing.T) {
	dir := t.TempDir()
	want := seed(t, dir)
	files, err := filepath.Glob(filepath.Join(dir, "journal", "*"))
	if err != nil || len(files) < 5 {
		t.Fatalf("the journal's files are %v, %v", files, err)
	}
	outcomes := map[string]int{}
	for i := range 24 {
		hurt := filepath.Join(t.TempDir(), "hurt")
		if err := os.CopyFS(hurt, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		what := damage(t, filepath.Join(hurt, "journal", filepath.Base(files[i%len(files)])), i)
		outcomes[judge(t, what, hurt, want)]++
	}
	t.Logf("%v", outcomes)
}

// damage cuts a file or flips bits of one byte, as the number chooses, and says what it did.
func damage(t *testing.T, path string, number int) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(content) == 0 {
		return path + " is empty"
	}
	r := rand.New(rand.NewPCG(uint64(number), 1))
	at, what := r.IntN(len(content)), "flipped"
	if number%3 == 0 {
		content, what = content[:at], "cut"
	} else {
		content[at] ^= byte(1 + r.IntN(255))
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%s %s at %d of %d", filepath.Base(path), what, at, len(content))
}

// judge opens a damaged store and fails if anything wrong is taken for right.
func judge(t *testing.T, what, dir string, want []events.Envelope) string {
	t.Helper()
	store, err := embedded.Open(embedded.Config{Dir: dir})
	if err != nil {
		t.Logf("%s: %v", what, err)
		return "named at open"
	}
	defer func() {
		if err := store.Close(); err != nil {
			t.Logf("%s: close: %v", what, err)
		}
	}()
	got, readErr := everything(t, store)
	if readErr != nil && !errors.Is(readErr, storage.ErrCorrupt) {
		t.Errorf("%s: read: %v, want %v", what, readErr, storage.ErrCorrupt)
	}
	if len(got) > len(want) || len(got) > 0 && !reflect.DeepEqual(got, want[:len(got)]) {
		t.Errorf("%s: other events were returned", what)
	}
	report, err := store.Check(t.Context(), nil)
	if err != nil {
		t.Errorf("%s: check: %v", what, err)
	}
	if len(report.Damage) == 0 {
		if readErr != nil || len(got) != len(want) {
			t.Errorf("%s: check found nothing, but %d of %d events were read: %v", what, len(got), len(want), readErr)
		}
		return "harmless"
	}
	for _, d := range report.Damage {
		if !errors.Is(d.Err, storage.ErrCorrupt) {
			t.Errorf("%s: check says %v, want %v", what, d.Err, storage.ErrCorrupt)
		}
	}
	t.Logf("%s: %d damaged, first %s", what, len(report.Damage), report.Damage[0])
	return "named by check"
}

func TestCheckOfAWholeStore(t *testing.T) {
	dir := t.TempDir()
	want := seed(t, dir)
	store := open(t, embedded.Config{Dir: dir})
	told := embedded.Progress{}
	report, err := store.Check(t.Context(), func(p embedded.Progress) { told = p })
	if err != nil || len(report.Damage) != 0 || report.Events != uint64(len(want)) || report.Streams != 5 {
		t.Errorf("the report is %+v, %v", report, err)
	}
	if told.Events != told.Total || told.Total != uint64(len(want)) {
		t.Errorf("the last progress was %+v", told)
	}
	stats, err := store.Stats(t.Context())
	if err != nil || stats.Events != uint64(len(want)) || stats.Last != want[len(want)-1].Position || stats.Bytes == 0 {
		t.Errorf("the stats are %+v, %v", stats, err)
	}
}
