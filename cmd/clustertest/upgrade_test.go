//go:build linux

package clustertest

import (
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

// TestUpgrade restarts the hosts of a cluster under load, one after the other, with a build that writes events which the one before does not know; then with the
// older build again, and with the newer one once more. Nobody is refused but those who write to an agent that only the newer build can hold, when there is no host of it;
// they are told why. No call is cut off, nothing is quarantined, and an agent moves twice at most.
func TestUpgrade(t *testing.T) {
	w := newWorld(t, chosen(t), nil, "books-1", "books-2", "books-3")
	l := newLoad(w, 9)
	w.whole()
	for _, way := range []struct {
		name, life string
		flags      []string
	}{
		{"up", newLife, nil},
		{"back", oldLife, []string{"--join-older"}},
		{"again", newLife, nil},
	} {
		moves := map[events.AgentID]int{}
		l.catchUp()
		for _, agent := range l.agents {
			moves[agent] = len(l.told[agent].judged.hosts)
		}
		began, accepted := time.Now(), len(l.sent)
		l.during(3, 60*time.Millisecond, func() {
			for _, h := range w.hosts {
				h.restart(way.life, way.flags)
				w.whole()
			}
			for i, agent := range l.agents { // so that each has an event of the newer build, or is asked for one without a host that knows it
				l.message(w.random, agent, fmt.Sprint(way.name, "-", i))
			}
		})
		held := l.heldBack(way.life == oldLife)
		if way.life == newLife {
			l.again()
			l.rest()
			l.judge()
			for _, agent := range l.agents {
				j := &l.told[agent].judged
				if moved := len(j.hosts) - moves[agent]; moves[agent] > 0 && moved > 2 {
					t.Errorf("%s moved %d times: %v", agent, moved, j.hosts)
				}
				if len(j.lost) > 0 || len(j.failed) > 0 {
					t.Errorf("%s: calls were cut off: %v, %q", agent, j.lost, j.failed)
				}
			}
		}
		t.Logf("to %s: %d messages, the slowest was accepted in %s, %d refused with a reason; in %s", way.life, len(l.sent)-accepted,
			l.slow.Round(time.Millisecond), held, time.Since(began).Round(time.Millisecond))
		if t.Failed() {
			return
		}
		l.slow, l.failed = 0, nil
	}
}

// catchUp has those who watch see all that is stored.
func (l *load) catchUp() {
	l.w.t.Helper()
	for _, agent := range l.agents {
		l.w.until("the feed of "+string(agent)+" is at its end", func() bool {
			page, err := l.w.journal.Read(l.w.t.Context(), events.AgentStream(agent), storage.Latest, storage.Backward, storage.Limit{Events: 1})
			l.w.check(err)
			if len(page.Events) == 0 || page.Events[0].Revision == l.told[agent].last {
				return true
			}
			l.watchOnce(l.w.t.Context(), l.w.any(), l.told[agent], agent, 100*time.Millisecond)
			return false
		})
	}
}

// restart drains the host, and starts it again as another build.
func (h *host) restart(life string, flags []string) {
	h.w.t.Helper()
	p := h.process()
	h.w.check(p.cmd.Process.Signal(syscall.SIGTERM))
	<-p.ended
	if !p.cmd.ProcessState.Success() {
		h.w.t.Errorf("%s ended with %v:\n%s", h.name, p.cmd.ProcessState, p.said.String())
	}
	h.life, h.flags = life, flags
	h.begin()
	h.serving()
}

// heldBack judges the answers that were no acceptance: that a host which is being restarted takes no connections, or has left and says so, upon which clients ask another one; and, if there are hosts of an older build, that none
// can hold an agent. An older build can if it has a snapshot of a fold of its own version, which is then as good as the events.
func (l *load) heldBack(older bool) (held int) {
	l.lock.Lock()
	defer l.lock.Unlock()
	for _, f := range l.failed {
		switch {
		case errors.Is(f.err, syscall.ECONNREFUSED), errors.Is(f.err, storage.ErrClosed):
		case older && tooNew(f.err):
			held++
		default:
			l.w.t.Errorf("%s to %s, after %s: %v", f.host, f.agent, f.after.Round(time.Millisecond), f.err)
		}
	}
	return held
}
