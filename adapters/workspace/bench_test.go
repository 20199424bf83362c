package workspace_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"example.com/life/actors/actorstest"
	"example.com/life/adapters/workspace"
)

// BenchmarkCapture measures what recording a workspace costs: with nothing changed, with one file changed, and for the first time. The blobs are in
// memory: what their disk costs is the blob store's affair.
func BenchmarkCapture(b *testing.B) {
	for _, files := range []int{10, 1000, 10_000} {
		dir := b.TempDir()
		for i := range files {
			name := filepath.Join(dir, fmt.Sprintf("d%d", i/500), fmt.Sprintf("e%d", i/50%10), fmt.Sprintf("f%d.txt", i))
			if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
				b.Fatal(err)
			}
			if err := os.WriteFile(name, fmt.Appendf(nil, "content of %d", i), 0o644); err != nil {
				b.Fatal(err)
			}
		}
		settle()
		blobs := &spied{Blobs: actorstest.NewBlobs()}
		run := func(name string, store func() *workspace.Store, change func(i int)) {
			b.Run(fmt.Sprintf("%d files, %s", files, name), func(b *testing.B) {
				blobs.bytes.Store(0)
				blobs.puts.Store(0)
				for i := range b.N {
					change(i)
					if _, err := store().Capture(b.Context(), dir); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(blobs.bytes.Load())/float64(b.N), "stored-B/op")
				b.ReportMetric(float64(blobs.puts.Load())/float64(b.N), "blobs/op")
			})
		}
		fresh := func() *workspace.Store {
			store, err := workspace.New(workspace.Config{Blobs: blobs})
			if err != nil {
				b.Fatal(err)
			}
			return store
		}
		store := fresh()
		if _, err := store.Capture(b.Context(), dir); err != nil {
			b.Fatal(err)
		}
		run("nothing changed", func() *workspace.Store { return store }, func(int) {})
		run("one changed", func() *workspace.Store { return store }, func(i int) {
			if err := os.WriteFile(filepath.Join(dir, "d0/e0/f7.txt"), fmt.Appendf(nil, "changed for the %d. time", i), 0o644); err != nil {
				b.Fatal(err)
			}
		})
		run("first time", fresh, func(int) {})
	}
}
