package cmd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"testing"

	"github.com/google/uuid"

	"example.com/life/actors/storage"
	"example.com/life/adapters/embedded"
	"example.com/life/cmd/bench"
	"example.com/life/cmd/stores"
	"example.com/life/cmd/transfer"
	"example.com/life/events"
)

// openStore opens an embedded store below a data directory until the test ends.
func openStore(t *testing.T, data string) *embedded.Store {
	t.Helper()
	opened, err := (stores.Location{Data: data}).Open(t.Context(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = opened.Close() })
	store, ok := opened.(*embedded.Store)
	if !ok {
		t.Fatalf("a data directory opens as %T", opened)
	}
	return store
}

// TestCopyKeepsWhatIsSaid: what is said about streams is the same in a copy through the protocol and in one into a directory: what
// is kept of them, which are deleted, and which for good; and what other programs wrote is there byte for byte.
func TestCopyKeepsWhatIsSaid(t *testing.T) {
	from := openStore(t, t.TempDir())
	if err := from.Import(t.Context(), []events.Envelope{
		{ID: uuid.New(), Stream: "agent-demo", Position: 2, Kind: "turn.ended", Version: 2, Time: 5, Data: []byte(`{"text":"<&>  "}`)},
		{ID: uuid.New(), Stream: "orders-1", Position: 5, Kind: "placed", Version: 1, Time: 6, Data: []byte("{ \"a\" :\n 1 }"), Foreign: &events.Foreign{Metadata: []byte("\x00\xff")}},
		{ID: uuid.New(), Stream: "orders-1", Revision: 1, Position: 8, Kind: "image", Version: 1, Time: 7, Data: []byte(`"AP8="`), Foreign: &events.Foreign{ContentType: "application/octet-stream", Base64: true}},
		{ID: uuid.New(), Stream: "orders-2", Position: 11, Kind: "placed", Version: 1, Time: 8, Data: []byte(`null`), Foreign: &events.Foreign{}},
		{ID: uuid.New(), Stream: "$$orders-1", Position: 14, Kind: "$metadata", Version: 1, Time: 9, Data: []byte(`{"$maxCount":5}`), Foreign: &events.Foreign{}},
		{ID: uuid.New(), Stream: "orders-2", Revision: math.MaxInt64, Position: 17, Kind: "$streamDeleted", Version: 1, Time: 10, Data: []byte(`""`), Foreign: &events.Foreign{ContentType: "application/octet-stream", Base64: true}},
	}); err != nil {
		t.Fatal(err)
	}
	gone := events.Envelope{ID: uuid.New(), Kind: "k", Version: 1, Time: 1, Data: []byte(`1`), Foreign: &events.Foreign{}}
	if _, err := from.Append(t.Context(), "gone", storage.ExpectNoStream, []events.Envelope{gone}); err != nil {
		t.Fatal(err)
	}
	if _, err := from.Delete(t.Context(), "gone", storage.ExpectAny); err != nil {
		t.Fatal(err)
	}
	server, err := startStoreServerHere(t.TempDir(), bench.AnyPort)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Kill() })
	there, err := (stores.Location{Address: server.Address}).Open(t.Context(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = there.Close() })
	for name, to := range map[string]stores.Journal{"protocol": there, "directory": openStore(t, t.TempDir())} {
		t.Run(name, func(t *testing.T) {
			for _, fresh := range []bool{true, false} { // again it changes nothing
				var report transfer.Copied
				if err := transfer.NewCopier(from, to, "life store copy A B", (&meter{}).show).Run(t.Context(), &report); err != nil {
					t.Fatal(err)
				}
				if (report.New > 0) != fresh || report.Events < 5 {
					t.Errorf("copied: %+v", report)
				}
			}
			page, err := to.Read(t.Context(), "gone", 0, storage.Forward, storage.Limit{})
			if err != nil || len(page.Events) > 0 || page.Last != events.NoRevision {
				t.Errorf("the deleted stream: %+v, %v", page, err)
			}
			if _, err := to.Read(t.Context(), "orders-2", 0, storage.Forward, storage.Limit{}); !errors.Is(err, storage.ErrDeleted) {
				t.Errorf("the stream that was deleted for good: %v", err)
			}
			page, err = to.Read(t.Context(), "$$orders-1", math.MaxInt64, storage.Backward, storage.Limit{})
			if err != nil || len(page.Events) != 1 || string(page.Events[0].Data) != `{"$maxCount":5}` {
				t.Errorf("the metadata: %+v, %v", page, err)
			}
		})
	}
}

// cutOff is a target that fails after so many appends.
type cutOff struct {
	stores.Journal
	left int
}

func (c *cutOff) Append(ctx context.Context, stream events.Stream, expected storage.Expected, batch []events.Envelope) (storage.Appended, error) {
	if c.left--; c.left < 0 {
		return storage.Appended{}, errors.New("cut off")
	}
	return c.Journal.Append(ctx, stream, expected, batch)
}

// TestHalfCopy: a copy through the protocol that was cut off is known as such to whoever opens the store, until the copy again finishes it. A copy
// of the copy has nothing of that.
func TestHalfCopy(t *testing.T) {
	from := openStore(t, t.TempDir())
	for i := range 6 {
		e := events.Envelope{ID: uuid.New(), Kind: "k", Version: 1, Time: 1, Data: []byte(`{}`)}
		if _, err := from.Append(t.Context(), events.Stream(fmt.Sprint("s-", i)), storage.ExpectNoStream, []events.Envelope{e}); err != nil {
			t.Fatal(err)
		}
	}
	server, err := startStoreServerHere(t.TempDir(), bench.AnyPort)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Kill() })
	open := func(filling bool) (stores.Journal, error) {
		return (stores.Location{Address: server.Address, Filling: filling}).Open(t.Context(), slog.New(slog.DiscardHandler))
	}
	copied := func(from, to stores.Journal) (report transfer.Copied, err error) {
		err = transfer.NewCopier(from, to, "life store copy A B", (&meter{}).show).Run(t.Context(), &report)
		return report, err
	}
	to, err := open(true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = to.Close() })
	for cut := range 4 {
		if _, err := copied(from, &cutOff{to, cut}); err == nil {
			t.Fatalf("a copy that was cut off after %d appends reports no error", cut)
		}
		var half *storage.HalfError
		switch plain, err := open(false); {
		case cut == 0 && err == nil: // nothing was stored
			_ = plain.Close()
		case !errors.As(err, &half) || half.Finish != "life store copy A B":
			t.Fatalf("after %d appends: %v", cut, err)
		}
	}
	if report, err := copied(from, to); err != nil || report.Events != 6 || report.New == 6 {
		t.Fatalf("finished: %+v, %v", report, err)
	}
	whole, err := open(false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = whole.Close() })
	back := openStore(t, t.TempDir())
	if report, err := copied(whole, back); err != nil || report.Events != 6 {
		t.Fatalf("and back: %+v, %v", report, err)
	}
	if finish, err := stores.HalfCopied(t.Context(), back); err != nil || finish != "" {
		t.Errorf("%q, %v", finish, err)
	}
}
