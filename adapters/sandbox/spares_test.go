package sandbox

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
)

// await returns when a spare supervisor waits.
func (s *spares) await() { s.starting.Wait() }

// TestSpares: a command that has a spare supervisor runs as one that has none.
func TestSpares(t *testing.T) {
	asNobody(t)
	s := newStage(t, LevelNamespaces)
	for i := range 3 {
		if i > 0 && s.spares.next == nil {
			t.Fatal("no supervisor waits")
		}
		exit, output, err := s.bash(t.Context(), fmt.Sprintf(`echo %d >> lines; tail -1 lines; cat; exit 3`, i))
		if err != nil || exit.Code != 3 || output != fmt.Sprintf("%d\n", i) {
			t.Errorf("run %d: %+v, %v: %q", i, exit, err, output)
		}
		s.spares.await()
	}
	// One that was killed is replaced.
	s.spares.next.Discard()
	if exit, output, err := s.bash(t.Context(), `echo ran`); err != nil || exit.Code != 0 || output != "ran\n" {
		t.Errorf("after the spare was killed: %+v, %v: %q", exit, err, output)
	}
	s.spares.await()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := s.bash(ctx, `echo ran`); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled run: %v", err)
	}
	var all sync.WaitGroup
	for i := range 6 {
		all.Go(func() {
			if _, output, err := s.bash(t.Context(), fmt.Sprintf("echo %d; sleep 0.1", i)); err != nil || strings.TrimSpace(output) != fmt.Sprint(i) {
				t.Errorf("at the same time: %v: %q", err, output)
			}
		})
	}
	all.Wait()
	s.Close()
	if s.spares.next != nil {
		t.Error("a supervisor waits after the end")
	}
}
