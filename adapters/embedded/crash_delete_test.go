package embedded_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"testing"

	"github.com/google/uuid"

	"example.com/life/actors/storage"
	"example.com/life/adapters/embedded"
	"example.com/life/events"
)

// generation is what recreateUntilKilled writes: which life of its stream an event belongs to, and its number in it.
type generation struct{ Life, Index int }

func (g generation) event() events.Envelope {
	return events.Envelope{ID: uuid.New(), Kind: "test.lived", Version: 1, Data: fmt.Appendf(nil, `{"Life":%d,"Index":%d}`, g.Life, g.Index)}
}

// recreateUntilKilled deletes streams and brings them back, and prints every life that began: the stream's number and the life's.
func recreateUntilKilled(dir string) error {
	store, err := embedded.Open(embedded.Config{Dir: dir, Memory: 256 << 10})
	if err != nil {
		return err
	}
	ctx := context.Background()
	failed, lines := make(chan error), make(chan string)
	for w := range crashWriters {
		go func() {
			stream := events.Stream(fmt.Sprintf("agent-%d", w))
			_, last, err := lived(ctx, store, stream)
			for life := last + 1; err == nil; life++ {
				if _, err = store.Delete(ctx, stream, storage.ExpectAny); err != nil && life > 0 {
					break
				}
				first := []events.Envelope{generation{life, 0}.event(), generation{life, 1}.event()}
				if _, err = store.Append(ctx, stream, storage.ExpectNoStream, first); err != nil {
					break
				}
				lines <- fmt.Sprintln(w, life)
				for i := range rand.IntN(4) {
					if _, err = store.Append(ctx, stream, storage.ExpectExists, []events.Envelope{generation{life, 2 + i}.event()}); err != nil {
						break
					}
				}
			}
			failed <- err
		}()
	}
	for {
		select {
		case line := <-lines:
			if _, err := os.Stdout.WriteString(line); err != nil {
				return err
			}
		case err := <-failed:
			return err
		}
	}
}

// lived verifies that a stream holds one life, from its beginning, or is deleted; the newest life that ever began is returned.
func lived(ctx context.Context, store *embedded.Store, stream events.Stream) (there bool, life int, err error) {
	page, err := store.Read(ctx, stream, 0, storage.Forward, storage.Limit{})
	if err != nil {
		return false, 0, err
	}
	for i, e := range page.Events {
		var g generation
		if err := json.Unmarshal(e.Data, &g); err != nil {
			return true, 0, err
		}
		if i == 0 {
			life = g.Life
		}
		if g.Life != life || g.Index != i {
			return true, 0, fmt.Errorf("event %d is %+v, of a stream in life %d", i, g, life)
		}
	}
	if len(page.Events) > 0 {
		return true, life, nil
	}
	all, err := store.ReadAll(ctx, storage.End(), storage.Backward, storage.Filter{Streams: []string{string(stream)}}, storage.Limit{Events: 1})
	if err != nil || len(all.Events) == 0 {
		return false, -1, err
	}
	m, err := store.Metadata(ctx, stream)
	if err == nil && (page.Last != events.NoRevision || !m.Deleted()) {
		err = fmt.Errorf("%s has no events, but its metadata are %+v", stream, m)
	}
	var g generation
	err = errors.Join(err, json.Unmarshal(all.Events[0].Data, &g))
	return false, g.Life, err
}

func TestRecreationIsWholeAfterKilling(t *testing.T) {
	dir := t.TempDir()
	for kill := range 6 {
		acknowledged := killedAfter(t, dir, "recreate", 1+rand.IntN(200))
		store, err := embedded.Open(embedded.Config{Dir: dir})
		if err != nil {
			t.Fatalf("open after kill %d: %v", kill, err)
		}
		for w, want := range acknowledged {
			stream := events.Stream(fmt.Sprintf("agent-%d", w))
			there, life, err := lived(t.Context(), store, stream)
			if err != nil || events.Revision(life) < want {
				t.Fatalf("after kill %d: %s is in life %d (there: %t), %v; %d was acknowledged", kill, stream, life, there, err, want)
			}
		}
		wholeStore(t, store)
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

const crashImport = 15_000

// importUntilKilled imports the same events again and again from their beginning, and prints how many are there.
func importUntilKilled(dir string) error {
	store, err := embedded.Open(embedded.Config{Dir: dir, Memory: 256 << 10})
	if err != nil {
		return err
	}
	all := exported(9, crashImport)
	for done := 0; done < len(all); {
		n := min(1+rand.IntN(400), len(all)-done)
		if err := store.Import(context.Background(), all[done:done+n]); err != nil {
			return err
		}
		done += n
		if _, err := fmt.Fprintf(os.Stdout, "0 %d\n", done); err != nil {
			return err
		}
	}
	return store.Close()
}

func TestImportGoesOnAfterKilling(t *testing.T) {
	dir := t.TempDir()
	want := exported(9, crashImport)
	for kill := range 3 {
		done := killedAfter(t, dir, "import", 5+rand.IntN(60))[0]
		store, err := embedded.Open(embedded.Config{Dir: dir})
		if err != nil {
			t.Fatalf("open after kill %d: %v", kill, err)
		}
		got := wholeStore(t, store)
		if events.Revision(len(got)) < done || !reflect.DeepEqual(got, want[:len(got)]) {
			t.Fatalf("after kill %d: %d events, or others than were imported; %d were acknowledged", kill, len(got), done)
		}
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
