//go:build linux

package clustertest

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

// TestEffect: a host is stopped, or cut off, while one of its calls is claimed and has not begun, and another one runs. Others take over, and their models
// try again what they are told was lost; then the host goes on. Each effect happened once, and the processes of the first call were gone before it was recorded as lost.
//
// It fails without the fence. That was seen with a Member.Fresh that lets every call begin and a Member.GoesOn that lets every call go on: the line that was claimed was
// there twice once the host went on, and on the host that was cut off the command outlived the record that it was lost, and wrote a second line.
func TestEffect(t *testing.T) {
	w := newWorld(t, chosen(t), nil, "books-1", "books-2", "books-3")
	l := &load{w: w, sent: map[string]events.AgentID{}, told: map[events.AgentID]*told{}}
	for _, row := range []effectRow{
		{"stopped", func(h *host) { w.check(h.process().stop()) }, func(h *host) { w.check(h.process().wake()) }, true},
		{"cut-off", func(h *host) { w.net.cutOff(h.machine, true) }, func(h *host) { w.net.cutOff(h.machine, false) }, true},
		{"stopped-shortly", func(h *host) {
			w.check(h.process().stop())
			w.pause(600 * time.Millisecond)
			w.check(h.process().wake())
		}, func(*host) {}, false},
	} {
		for try := 1; !l.effect(row, try); try++ {
			t.Logf("%s: the call had begun before its host could be kept from it", row.name)
		}
	}
}

// effectRow is what happens to a host.
type effectRow struct {
	name       string
	begin, end func(h *host)
	lost       bool // others hold the host for dead
}

// effect has it happen to a host one of whose calls is claimed and has not begun, while another runs. False: it was too late for that.
func (l *load) effect(row effectRow, try int) bool {
	w, t, store := l.w, l.w.t, l.w.net.all[1]
	w.whole()
	victim, from := w.any(), w.view().Epoch
	name := fmt.Sprint(row.name, "-", try)
	claims, runs := l.agentOf(victim, name+"-claims", "retry-line", "append_line"), l.agentOf(victim, name+"-runs", "retry-bash", "bash")
	for i := range 300 { // to be recorded between the request and the claim: it takes a while
		w.check(os.WriteFile(w.path("work", string(claims), fmt.Sprint("file-", i)), fmt.Append(nil, name, i), 0o600))
	}
	l.message(w.random, runs, name+"-runs-it")
	var first []int
	w.until("the command runs", func() bool { first = sleeping(t); return len(first) > 0 })
	before := w.blobs()
	l.message(w.random, claims, name+"-claims-it")
	request := w.event(claims, (events.ToolRequested{}).Kind())
	w.until("the workspace is being recorded", func() bool { return w.blobs() > before+20 })
	w.net.cut(store, victim.machine, true)                        // it cannot learn that it has the claim
	soon, cancel := context.WithTimeout(t.Context(), time.Second) // or it has not claimed the call, and cannot any more
	claim, claimed := w.eventOf(soon, events.EffectStream(events.RequestID(request.Ref())), (events.EffectClaimed{}).Kind())
	cancel()
	if !claimed || claim.Host.Name() != victim.name || len(linesOf(t, w.path("work", string(claims), "lines"))) > 0 {
		w.net.cut(store, victim.machine, false)
		l.rest()
		return false
	}
	row.begin(victim)
	w.net.cut(store, victim.machine, row.name == "cut-off")
	if row.lost {
		gone := w.gone(first)
		lost := w.event(runs, (events.ToolLost{}).Kind())
		w.event(claims, (events.ToolLost{}).Kind())
		if at := time.UnixMicro(int64(lost.Time)); !gone.Before(at) {
			t.Errorf("%s: a process of the call lived at %s, and it was recorded as lost at %s", row.name, gone, at)
		}
	}
	w.event(claims, (events.TurnEnded{}).Kind())
	w.event(runs, (events.TurnEnded{}).Kind())
	row.end(victim)
	w.whole()
	if _, removed := w.removed(from)[victim.name]; removed != row.lost {
		t.Errorf("%s: removed is %v, want %v", row.name, removed, row.lost)
	}
	l.rest()
	l.judge()
	for file, agent := range map[string]events.AgentID{"lines": claims, "commands": runs} {
		if lines := linesOf(t, w.path("work", string(agent), file)); len(lines) != 1 {
			t.Errorf("%s: %s wrote %v, want one line", row.name, agent, lines)
		}
	}
	return true
}

// blobs counts what is in the directory of blobs.
func (w *world) blobs() (count int) {
	w.check(filepath.WalkDir(w.path("blobs"), func(string, fs.DirEntry, error) error {
		count++
		return nil
	}))
	return count
}

// agentOf makes an agent that lives on a host.
func (l *load) agentOf(h *host, name, model, tool string) events.AgentID {
	view := l.w.view()
	for i := 0; ; i++ {
		agent := events.AgentID(fmt.Sprint(name, "-", i))
		if owner, _ := view.Owner(events.AgentStream(agent)); owner.Name() == h.name {
			l.make(agent, "scripted/"+model, []events.ToolGrant{{Name: tool}})
			return agent
		}
	}
}

// event waits for the first event of a kind in an agent's stream.
func (w *world) event(agent events.AgentID, kind events.Kind) events.Envelope {
	w.t.Helper()
	ctx, cancel := w.patient()
	defer cancel()
	found, is := w.eventOf(ctx, events.AgentStream(agent), kind)
	if !is {
		w.t.Fatalf("there is no %s of %s", kind, agent)
	}
	return found
}

// eventOf waits for the first event of a kind in a stream. False: there is none before ctx ends.
func (w *world) eventOf(ctx context.Context, stream events.Stream, kind events.Kind) (events.Envelope, bool) {
	for at := events.Revision(0); ctx.Err() == nil; wait(ctx, 2*time.Millisecond) {
		page, err := w.journal.Read(ctx, stream, at, storage.Forward, storage.Limit{})
		if err != nil {
			continue
		}
		for i := range page.Events {
			if at = page.Events[i].Revision + 1; page.Events[i].Kind == kind {
				return page.Events[i], true
			}
		}
	}
	return events.Envelope{}, false
}

// sleeping are the processes that the commands wait for.
func sleeping(t *testing.T) (pids []int) {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range all {
		line, err := os.ReadFile(filepath.Clean(file))
		if err != nil || string(line) != "sleep\x006.25\x00" {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file))); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// gone waits until processes have ended, and returns when they had.
func (w *world) gone(pids []int) time.Time {
	w.t.Helper()
	for _, pid := range pids {
		w.until(fmt.Sprint("process ", pid, " has ended"), func() bool {
			line, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
			return err != nil || len(line) == 0
		})
	}
	return time.Now()
}
