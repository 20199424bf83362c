package embedded_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"sync"
	"testing"

	"github.com/google/uuid"
	"go.uber.org/goleak"

	"example.com/life/actors/storage"
	"example.com/life/adapters/embedded"
	"example.com/life/events"
)

// crashDir makes the test binary a writer that is going to be killed.
const (
	crashDir  = "LIFE_TEST_CRASH_DIR"
	crashWork = "LIFE_TEST_CRASH_WORK"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		work := map[string]func(dir string) error{"append": appendUntilKilled, "recreate": recreateUntilKilled, "import": importUntilKilled}
		fmt.Fprintln(os.Stderr, work[os.Getenv(crashWork)](dir))
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

const crashWriters = 4

// appendUntilKilled prints every acknowledged append: the stream's number and its last revision. It ends when nobody reads that.
func appendUntilKilled(dir string) error {
	store, err := embedded.Open(embedded.Config{Dir: dir, Memory: 256 << 10})
	if err != nil {
		return err
	}
	failed := make(chan error)
	var mu sync.Mutex
	for w := range crashWriters {
		go func() {
			stream := events.Stream(fmt.Sprintf("agent-%d", w))
			chain, err := fold(context.Background(), store, stream)
			for err == nil {
				batch := chain.next(1 + rand.IntN(4))
				var appended storage.Appended
				appended, err = store.Append(context.Background(), stream, storage.ExpectRevision(chain.last), batch)
				if err == nil {
					chain.last = appended.Last
					mu.Lock()
					_, err = fmt.Fprintf(os.Stdout, "%d %d\n", w, appended.Last)
					mu.Unlock()
				}
			}
			failed <- err
		}()
	}
	return <-failed
}

// chain is a stream folded as far as this test needs it.
type chain struct {
	last   events.Revision
	digest events.Digest
}

func (c *chain) next(n int) []events.Envelope {
	batch := make([]events.Envelope, n)
	for i := range batch {
		data := fmt.Appendf(nil, `{"revision":"%d","batch":%d,"pad":%q}`, int(c.last)+1+i, n, make([]byte, rand.IntN(50)))
		c.digest = c.digest.Next("test.happened", data)
		batch[i] = events.Envelope{ID: uuid.New(), Kind: "test.happened", Version: 1, Digest: c.digest, Data: data}
	}
	return batch
}

// fold reads a stream to its end and verifies revisions and digests.
func fold(ctx context.Context, journal storage.Journal, stream events.Stream) (chain, error) {
	c := chain{last: events.NoRevision}
	for {
		page, err := journal.Read(ctx, stream, c.last+1, storage.Forward, storage.Limit{})
		if err != nil {
			return c, err
		}
		for _, e := range page.Events {
			c.digest = c.digest.Next(e.Kind, e.Data)
			if e.Revision != c.last+1 || e.Digest != c.digest {
				return c, fmt.Errorf("after revision %d of %s comes %s with digest %s, want %s", c.last, stream, e.Ref(), e.Digest, c.digest)
			}
			c.last++
		}
		if page.End {
			return c, nil
		}
	}
}

func TestNothingAcknowledgedIsLostByKilling(t *testing.T) {
	dir := t.TempDir()
	total := uint64(0)
	for kill := range 10 {
		acknowledged := killedAfter(t, dir, "append", 1+rand.IntN(300))
		store, err := embedded.Open(embedded.Config{Dir: dir})
		if err != nil {
			t.Fatalf("open after kill %d: %v", kill, err)
		}
		for w, last := range acknowledged {
			stream := events.Stream(fmt.Sprintf("agent-%d", w))
			c, err := fold(t.Context(), store, stream)
			if err != nil {
				t.Fatalf("after kill %d: %v", kill, err)
			}
			if c.last < last {
				t.Fatalf("after kill %d: %s ends at %d, but %d was acknowledged", kill, stream, c.last, last)
			}
		}
		report, err := store.Check(t.Context(), nil)
		if err != nil || len(report.Damage) > 0 {
			t.Fatalf("after kill %d: %+v, %v", kill, report, err)
		}
		total = report.Events
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d events", total)
}

// killedAfter runs a writer, kills it after some acknowledgments, and returns the last one of each stream.
func killedAfter(t *testing.T, dir, work string, lines int) [crashWriters]events.Revision {
	t.Helper()
	last := [crashWriters]events.Revision{}
	for w := range last {
		last[w] = events.NoRevision
	}
	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(), crashDir+"="+dir, crashWork+"="+work)
	child.Stderr = os.Stderr
	output, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	scanner := bufio.NewScanner(output)
	for seen := 0; scanner.Scan(); seen++ {
		var w int
		var revision events.Revision
		if n, err := fmt.Sscanf(scanner.Text(), "%d %d", &w, &revision); n == 2 && err == nil {
			last[w] = max(last[w], revision)
		}
		if seen == 0 {
			held := &embedded.HeldError{}
			if _, err := embedded.Open(embedded.Config{Dir: dir}); !errors.As(err, &held) || held.PID != child.Process.Pid {
				t.Errorf("open a directory that process %d holds: %v", child.Process.Pid, err)
			}
		}
		if seen == lines {
			if err := child.Process.Kill(); err != nil {
				t.Error(err)
			}
		}
	}
	if err := child.Wait(); err == nil || child.ProcessState.ExitCode() != -1 {
		t.Fatalf("the writer ended by itself: %v", err)
	}
	return last
}
