package actorstest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

// TestBlobs is the conformance suite of storage.Blobs. Open returns an empty store, closed by its own clean-up.
func TestBlobs(t *testing.T, open func(t *testing.T) storage.Blobs) {
	t.Run("what is put comes back", func(t *testing.T) { blobsComeBack(t, open(t)) })
	t.Run("the same bytes are one blob", func(t *testing.T) { blobsOnce(t, open(t)) })
	t.Run("a missing blob does not exist", func(t *testing.T) { blobsMissing(t, open(t)) })
	t.Run("a broken source stores nothing", func(t *testing.T) { blobsBrokenSource(t, open(t)) })
	t.Run("an ended context stores nothing", func(t *testing.T) { blobsCancelled(t, open(t)) })
	t.Run("an ill-formed reference is refused", func(t *testing.T) { blobsBadReference(t, open(t)) })
	t.Run("many writers of the same bytes", func(t *testing.T) { blobsConcurrent(t, open(t)) })
}

func blobsComeBack(t *testing.T, blobs storage.Blobs) {
	for _, size := range []int{0, 1, events.InlineLimit, 1<<20 + 7} {
		content := bytes.Repeat([]byte("life"), size/4+1)[:size]
		ref, err := blobs.Put(t.Context(), "text/plain; charset=utf-8", iotest.OneByteReader(bytes.NewReader(content)))
		if err != nil {
			t.Fatalf("put %d bytes: %v", size, err)
		}
		want := events.BlobRef{Hash: events.HashBytes(content), Size: int64(size), Media: "text/plain; charset=utf-8"}
		if ref != want {
			t.Errorf("put %d bytes: the reference is %+v, want %+v", size, ref, want)
		}
		if got := readBlob(t, blobs, ref); !bytes.Equal(got, content) {
			t.Errorf("%d bytes came back as %d other bytes", size, len(got))
		}
	}
}

func blobsOnce(t *testing.T, blobs storage.Blobs) {
	first, err := blobs.Put(t.Context(), "text/plain", strings.NewReader("once"))
	if err != nil {
		t.Fatal(err)
	}
	again, err := blobs.Put(t.Context(), "application/json", strings.NewReader("once"))
	if err != nil {
		t.Fatalf("put the same bytes again: %v", err)
	}
	if again.Hash != first.Hash || again.Size != first.Size || again.Media != "application/json" {
		t.Errorf("the second reference is %+v, the first %+v: want the same bytes under its own media type", again, first)
	}
	if got := readBlob(t, blobs, first); string(got) != "once" {
		t.Errorf("came back as %q", got)
	}
}

func blobsMissing(t *testing.T, blobs storage.Blobs) {
	ref := events.BlobRef{Hash: events.HashBytes([]byte("never stored")), Size: 12}
	if _, err := blobs.Open(t.Context(), ref); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("open a blob that was never stored: %v, want fs.ErrNotExist", err)
	}
}

func blobsBrokenSource(t *testing.T, blobs storage.Blobs) {
	broken := errors.New("the source broke")
	source := io.MultiReader(strings.NewReader("half"), iotest.ErrReader(broken))
	if _, err := blobs.Put(t.Context(), "text/plain", source); !errors.Is(err, broken) {
		t.Errorf("put from a broken source: %v, want its error", err)
	}
	absent(t, blobs, "half")
}

func blobsCancelled(t *testing.T, blobs storage.Blobs) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := blobs.Put(ctx, "text/plain", strings.NewReader("late")); !errors.Is(err, context.Canceled) {
		t.Errorf("put with an ended context: %v, want context.Canceled", err)
	}
	absent(t, blobs, "late")
}

func blobsBadReference(t *testing.T, blobs storage.Blobs) {
	for _, hash := range []string{"", "../../etc/passwd", strings.Repeat("A", 64), strings.Repeat("0", 63)} {
		if _, err := blobs.Open(t.Context(), events.BlobRef{Hash: hash}); !errors.Is(err, events.ErrInvalidID) {
			t.Errorf("open %q: %v, want events.ErrInvalidID", hash, err)
		}
	}
	ref, err := blobs.Put(t.Context(), "text/plain", strings.NewReader("five!"))
	if err != nil {
		t.Fatal(err)
	}
	ref.Size++
	if _, err := readAll(t.Context(), blobs, ref); !errors.Is(err, storage.ErrCorrupt) {
		t.Errorf("read a blob whose size differs from its reference: %v, want actors.ErrCorrupt", err)
	}
}

func blobsConcurrent(t *testing.T, blobs storage.Blobs) {
	var writers sync.WaitGroup
	for i := range 16 {
		writers.Go(func() {
			content := fmt.Sprintf("shared %d", i%2)
			ref, err := blobs.Put(t.Context(), "text/plain", strings.NewReader(content))
			if err != nil {
				t.Errorf("put: %v", err)
				return
			}
			if got, err := readAll(t.Context(), blobs, ref); err != nil || string(got) != content {
				t.Errorf("read back %q: %v, want %q", got, err, content)
			}
		})
	}
	writers.Wait()
}

func absent(t *testing.T, blobs storage.Blobs, content string) {
	t.Helper()
	ref := events.BlobRef{Hash: events.HashBytes([]byte(content)), Size: int64(len(content))}
	if _, err := blobs.Open(t.Context(), ref); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%q is there (%v), want fs.ErrNotExist", content, err)
	}
}

func readBlob(t *testing.T, blobs storage.Blobs, ref events.BlobRef) []byte {
	t.Helper()
	content, err := readAll(t.Context(), blobs, ref)
	if err != nil {
		t.Fatalf("read blob: %v", err)
	}
	return content
}

func readAll(ctx context.Context, blobs storage.Blobs, ref events.BlobRef) ([]byte, error) {
	r, err := blobs.Open(ctx, ref)
	if err != nil {
		return nil, err
	}
	content, err := io.ReadAll(r)
	return content, errors.Join(err, r.Close())
}
