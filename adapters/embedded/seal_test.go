package embedded_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"example.com/life/actors/storage"
	"example.com/life/adapters/embedded"
)

// TestSealedSnapshots: snapshots whose manifest is not as it was closed are dropped, wherever it was changed; at its end that looks
// like a crash, and without the seal Pebble would go on with what is before it.
func TestSealedSnapshots(t *testing.T) {
	for name, change := range map[string]func([]byte) []byte{
		"as it was": func(b []byte) []byte { return b },
		"cut":       func(b []byte) []byte { return b[:len(b)-3] },
		"its end":   func(b []byte) []byte { b[len(b)-1] ^= 0x40; return b },
		"its front": func(b []byte) []byte { b[9] ^= 1; return b },
		"longer":    func(b []byte) []byte { return append(b, 0, 0, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			open := func() *embedded.Cache {
				cache, err := embedded.OpenSnapshots(embedded.Config{Dir: dir})
				if err != nil {
					t.Fatal(err)
				}
				return cache
			}
			cache := open()
			if err := cache.Save(t.Context(), "agent", "agent-a", storage.Snapshot{Revision: 3, State: []byte(`{"id":"a"}`)}); err != nil {
				t.Fatal(err)
			}
			if err := cache.Close(); err != nil {
				t.Fatal(err)
			}
			manifests, err := filepath.Glob(filepath.Join(dir, "snapshots", "MANIFEST-*"))
			if err != nil || len(manifests) == 0 {
				t.Fatal(manifests, err)
			}
			current := slices.Max(manifests)
			content, err := os.ReadFile(current)
			if err == nil {
				err = os.WriteFile(current, change(content), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			cache = open()
			if _, err := os.Stat(filepath.Join(dir, "LIFE_SNAPSHOTS")); !os.IsNotExist(err) {
				t.Errorf("the seal is there while the snapshots are open: %v", err)
			}
			_, found, err := cache.Load(t.Context(), "agent", "agent-a", 10)
			if whole := name == "as it was"; err != nil || found != whole {
				t.Errorf("a snapshot was found: %v, want %v; %v", found, whole, err)
			}
			if err := cache.Close(); err != nil {
				t.Fatal(err)
			}
			cache = open() // and what was made anew is sound
			if err := cache.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}
