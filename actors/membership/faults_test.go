package membership_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"example.com/life/actors/membership"
	"example.com/life/events"
)

// within reports a length of time that is too long.
func within(t *testing.T, what string, took, most time.Duration) {
	t.Helper()
	t.Logf("%s: %s", what, took)
	if took > most {
		t.Errorf("%s took %s, at most %s are allowed", what, took, most)
	}
}

func TestKilled(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		all := w.members("a", "b", "c")
		all[1].kill()
		took := w.until(2*time.Second, "b is removed", func() bool { return w.agree(all[0], all[2]) })
		within(t, "the removal of a host that was killed", took, 400*time.Millisecond)
		if removals := w.removals(); len(removals) != 1 || removals[0].Because != events.RemovedRefused {
			t.Errorf("%+v", removals)
		}
	})
}

func TestPausedAndWoken(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		all := w.members("a", "b", "c")
		claimed := all[1].member.Now()
		all[1].pause()
		took := w.until(3*time.Second, "b is removed", func() bool { return w.agree(all[0], all[2]) })
		within(t, "the removal of a host that was paused", took, 1600*time.Millisecond)
		pass(5*time.Second - took)
		all[1].resume()
		if err := all[1].member.Fresh(t.Context(), claimed); !errors.Is(err, membership.ErrNotBegun) {
			t.Errorf("what was claimed before the pause may begin: %v", err)
		}
		within(t, "that the woken host knows it", w.until(time.Second, "b knows", all[1].removed), 20*time.Millisecond)
		if all[1].member.GoesOnUntil() != 0 {
			t.Error("what runs on a removed host may go on")
		}
		if removals := w.removals(); len(removals) != 1 || removals[0].Because != events.RemovedSilent || len(removals[0].Confirmed) != 1 {
			t.Errorf("%+v", removals)
		}
	})
}

// TestShortPauses: who was paused for less than others allow stays, and accuses nobody.
func TestShortPauses(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		all := w.members("a", "b", "c")
		for range 5 {
			all[0].pause()
			pass(700 * time.Millisecond)
			all[0].resume()
			w.stays(time.Second, "all are members", func() bool { return w.agree(all...) })
		}
		if err := all[0].member.Fresh(t.Context(), all[0].member.Now()); err != nil {
			t.Error(err)
		}
	})
}

// TestAllPaused: as when the machine that holds all of them sleeps.
func TestAllPaused(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		all := w.members("a", "b", "c")
		for _, p := range all {
			p.pause()
		}
		pass(time.Minute)
		for _, p := range all {
			p.resume()
		}
		w.stays(3*time.Second, "all are members", func() bool { return w.agree(all...) })
	})
}

func TestCutOff(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		all := w.members("a", "b", "c", "d", "e")
		w.cutOff("b")
		took := w.until(3*time.Second, "b is removed", func() bool { return w.agree(all[0], all[2], all[3], all[4]) })
		within(t, "the removal of a host that was cut off", took, 1600*time.Millisecond)
		pass(5*time.Second - took)
		if err := all[1].member.Fresh(t.Context(), all[1].member.Now()); err == nil {
			t.Error("a host that is cut off may begin effects")
		}
		w.heal()
		w.until(2*time.Second, "b knows", all[1].removed)
		if removals := w.removals(); len(removals) != 1 {
			t.Errorf("%+v", removals)
		}
	})
}

// TestSplit: the larger part removes the smaller, whatever the smaller thinks.
func TestSplit(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		all := w.members("a", "b", "c", "d", "e")
		for _, small := range []string{"a", "b"} {
			for _, large := range []string{"c", "d", "e"} {
				w.cut(small, large)
				w.cut(large, small)
			}
		}
		w.until(4*time.Second, "a and b are removed", func() bool { return w.agree(all[2:]...) })
		w.until(time.Second, "a and b know", func() bool { return all[0].removed() && all[1].removed() })
	})
}

func TestNobodyIsRemoved(t *testing.T) {
	for name, harm := range map[string]func(*world){
		"one pair cut": func(w *world) { w.cut("a", "b"); w.cut("b", "a") },
		"one way cut":  func(w *world) { w.cut("a", "b") },
		"the store stalls": func(w *world) {
			w.stall()
			pass(3 * time.Second)
			w.answer()
		},
		"the store stalls for a minute": func(w *world) {
			w.stall()
			pass(time.Minute)
			w.answer()
		},
		"nothing": func(*world) {},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				all := w.members("a", "b", "c")
				harm(w)
				w.stays(20*time.Second, "all are members", func() bool { return w.agree(all...) })
				for _, p := range all {
					if err := p.member.Fresh(t.Context(), p.member.Now()); err != nil {
						t.Error(err)
					}
				}
				if end := all[0].member.View().Epoch; end != 2 {
					t.Errorf("the stream has %d events:\n%s", end+1, w.story())
				}
			})
		})
	}
}

// TestStoreless: a host that has lost the store for good is removed by those that have it, and not while all have lost it.
func TestStoreless(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		all := w.members("a", "b", "c")
		pass(3 * time.Second) // those that accuse it must have had the store for longer than it has been without
		w.cut("b", theStore)
		w.cut(theStore, "b")
		took := w.until(20*time.Second, "b is removed", func() bool { return w.agree(all[0], all[2]) })
		if took < 2*time.Second { // it reads each second
			t.Errorf("b was removed after %s", took)
		}
		if removals := w.removals(); len(removals) != 1 || removals[0].Because != events.RemovedStoreless {
			t.Errorf("%+v", removals)
		}
	})
}

// TestDeafHosts: who hears nobody, or cannot append, removes nobody.
func TestDeafHosts(t *testing.T) {
	for name, harm := range map[string]func(*world){
		"b hears nobody and no store": func(w *world) {
			for _, from := range []string{"a", "c", theStore} {
				w.cut(from, "b")
			}
		},
		"b is heard by nobody": func(w *world) {
			for _, to := range []string{"a", "c", theStore} {
				w.cut("b", to)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				all := w.members("a", "b", "c")
				harm(w)
				w.until(5*time.Second, "b is removed", func() bool { return w.agree(all[0], all[2]) })
				if removals := w.removals(); len(removals) != 1 || removals[0].By == string(all[1].member.Self()) {
					t.Errorf("%+v", removals)
				}
			})
		})
	}
}

func TestTwoAtOnce(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		all := w.members("a", "b", "c", "d", "e")
		all[1].kill()
		all[3].kill()
		took := w.until(3*time.Second, "b and d are removed", func() bool { return w.agree(all[0], all[2], all[4]) })
		within(t, "the removal of two hosts", took, 600*time.Millisecond)
	})
}

// TestLastOne: of two hosts the one that is left goes on, and of three killed together a new process can begin.
func TestLastOne(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		all := w.members("a", "b", "c")
		all[0].kill()
		w.until(time.Second, "a is removed", func() bool { return w.agree(all[1:]...) })
		all[1].kill()
		w.until(time.Second, "b is removed", func() bool { return w.agree(all[2]) })
		all[2].kill()
		pass(time.Minute)
		again, err := w.start("a")
		if err != nil {
			t.Fatal(err)
		}
		w.until(time.Second, "c is removed", func() bool { return w.agree(again) })
	})
}

// TestIdle: an idle cluster stores nothing.
func TestIdle(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		all := w.members("a", "b", "c")
		pass(time.Minute)
		if !w.agree(all...) || all[0].member.View().Epoch != 2 {
			t.Error(w.story())
		}
	})
}

// TestJoinStorm: many join at once, and each is a member once.
func TestJoinStorm(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		const many = 12
		started, errs := make([]*process, many), make(chan error, many)
		for i := range started {
			go func() {
				p, err := w.start(fmt.Sprint("h", i))
				started[i] = p
				errs <- err
			}()
		}
		for range started {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
		w.until(2*time.Second, "all know of all", func() bool { return w.agree(started...) })
		if len(w.removals()) > 0 {
			t.Error(w.story())
		}
	})
}

// TestCannotWork: a host that answers and cannot work is as good as silent.
func TestCannotWork(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		all := w.members("a", "c")
		var stuck atomic.Bool
		b, err := w.start("b", func(_ *process, c *membership.Config) {
			c.Work = func(ctx context.Context) (membership.Work, error) {
				if stuck.Load() {
					<-ctx.Done()
					return membership.Work{}, ctx.Err()
				}
				return membership.Work{}, nil
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		w.until(time.Second, "all are members", func() bool { return w.agree(append(all, b)...) })
		stuck.Store(true)
		took := w.until(4*time.Second, "b is removed", func() bool { return w.agree(all...) })
		within(t, "the removal of a host that cannot work", took, 1600*time.Millisecond)
		if removals := w.removals(); len(removals) != 1 || removals[0].Because != events.RemovedSilent {
			t.Errorf("%+v", removals)
		}
	})
}

// TestDrainWithoutStore: a host that is to end does not wait long for a store that does not answer.
func TestDrainWithoutStore(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		all := w.members("a", "b")
		w.stall()
		for what, end := range map[string]func(context.Context) error{"drain": all[0].member.Drain, "leave": all[0].member.Leave} {
			began := time.Now()
			err := end(t.Context())
			if took := time.Since(began); err == nil || !strings.Contains(err.Error(), "the store did not answer for 5s") || took > 6*time.Second {
				t.Errorf("%s: after %s: %v", what, took, err)
			}
		}
		if away := all[0].member.Storeless(); away < 9*time.Second {
			t.Errorf("the store is away for %s", away)
		}
		w.answer()
		w.until(5*time.Second, "the store is there", func() bool { return all[0].member.Storeless() == 0 })
		if !w.agree(all...) {
			t.Error("a host that could not say that it ends is none any more")
		}
	})
}
