package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

// lineScript is a model that has each effect leave a line: which try it is, for which message, and when. A call that is lost is made again.
const lineScript = `rules:
  - when: {failed: true}
    calls: [{tool: bash, arguments: {command: 'echo "again ${prompt} $$EPOCHREALTIME" >>lines'}}]
  - when: {role: user}
    calls: [{tool: bash, arguments: {command: 'echo "first ${prompt} $$EPOCHREALTIME" >>lines'}}]
  - text: "It is written."
`

const (
	settleTime  = 300 * time.Millisecond // load runs before and after a fault
	otherCalls  = 2                      // callers of the agents that no fault should touch
	drainCalls  = 4                      // callers of the agents that a drain moves
	effectCalls = 16                     // agents with an effect under way when their host is stopped
)

func echo() string { return "Are you there?" }

// fault is a run's part in which something happens to one host.
type fault struct {
	*hosts
	victim  *host
	living  []*host // the others
	mine    []events.AgentID
	others  []events.AgentID // of the living ones
	refused *refusals
}

func (h *hosts) fault(ctx context.Context, victim *host, agents []events.AgentID, refused *refusals) (f fault, err error) {
	owned, err := h.owned(ctx, agents)
	if err != nil {
		return f, err
	}
	f = fault{hosts: h, victim: victim, refused: refused}
	for _, m := range h.living() {
		if m != victim {
			f.living, f.others = append(f.living, m), append(f.others, owned[m.name]...)
		}
	}
	if f.mine = owned[victim.name]; len(f.mine) == 0 || len(f.others) == 0 {
		return f, fmt.Errorf("of %d agents, %d live on host %s: use more", len(agents), len(f.mine), victim.name)
	}
	// Each is in memory, as if it had been at work a moment ago.
	return f, h.each(agents, 4, func(by *host, agent events.AgentID) error {
		_, err := h.send(ctx, by, agent, echo(), refused)
		return err
	})
}

// during does something while the agents of other hosts are called, and returns how long those calls took.
func (f *fault) during(ctx context.Context, do func() error) ([]time.Duration, error) {
	load := f.load(ctx, otherCalls, f.others, f.living, echo, f.refused)
	err := sleep(ctx, settleTime)
	if err == nil {
		err = do()
	}
	if err == nil {
		err = sleep(ctx, settleTime)
	}
	calls, failed := load.end()
	return commands(calls), errors.Join(err, failed)
}

// commands is how long it took until each message was accepted.
func commands(calls []called) (times []time.Duration) {
	for _, c := range calls {
		times = append(times, c.accepted.Sub(c.sent))
	}
	return times
}

// askAll sends each agent of the victim a message by way of the living hosts, all at once, and says how long after a time each had answered.
func (f *fault) askAll(ctx context.Context, since time.Time) (answered []time.Duration, err error) {
	calls := make(chan called, len(f.mine))
	err = f.each(f.mine, len(f.mine), func(by *host, agent events.AgentID) error {
		c, err := f.send(ctx, by, agent, echo(), f.refused)
		calls <- c
		return err
	})
	close(calls)
	for c := range calls {
		answered = append(answered, c.answered.Sub(since))
	}
	return answered, err
}

// measureKill kills a host, and asks all of its agents elsewhere.
func (h *hosts) measureKill(ctx context.Context, victim *host, agents []events.AgentID, refused *refusals) (answered, others []time.Duration, err error) {
	f, err := h.fault(ctx, victim, agents, refused)
	if err != nil {
		return nil, nil, err
	}
	others, err = f.during(ctx, func() error {
		begun := time.Now()
		if err := victim.kill(); err != nil {
			return err
		}
		answered, err = f.askAll(ctx, begun)
		return err
	})
	return answered, others, errors.Join(err, h.again(ctx, victim))
}

// paused is what was measured of a host that was stopped and woken.
type paused struct {
	answered, others []time.Duration
	effects, stale   int
	again            int // effects that were lost, and had by another call
}

// measurePause stops a host in the middle of effects, asks all of its other agents elsewhere, wakes it, and looks for effects that it should not have had.
func (h *hosts) measurePause(ctx context.Context, victim *host, agents, acting []events.AgentID, pause time.Duration, refused *refusals) (p paused, err error) {
	f, err := h.fault(ctx, victim, agents, refused)
	if err != nil {
		return p, err
	}
	owned, err := h.owned(ctx, acting)
	if err != nil {
		return p, err
	}
	p.others, err = f.during(ctx, func() error { return p.measure(ctx, &f, owned[victim.name], pause) })
	return p, errors.Join(err, h.again(ctx, victim))
}

func (p *paused) measure(ctx context.Context, f *fault, acting []events.AgentID, pause time.Duration) error {
	if len(acting) == 0 {
		return errors.New("no agent with effects lives on the host that is stopped: use more")
	}
	acting = acting[:min(len(acting), effectCalls)]
	view, err := f.view(ctx)
	if err != nil {
		return err
	}
	victim, _ := view.Named(f.victim.name)
	numbers := make(chan int)
	counting, done := context.WithCancel(ctx)
	defer done()
	go count(counting, numbers)
	effects := f.load(ctx, len(acting), acting, f.living, func() string { return strconv.Itoa(<-numbers) }, f.refused)
	err = sleep(ctx, settleTime)
	woken, stopped := make(chan time.Time, 1), time.Now()
	if err == nil {
		err = f.victim.Signal(syscall.SIGSTOP)
	}
	f.victim.down = true
	wake := time.AfterFunc(pause, func() {
		_ = f.victim.Signal(syscall.SIGCONT) //nolint:errcheck // if it could not be woken there is nothing stale
		woken <- time.Now()
	})
	defer wake.Stop()
	if err == nil {
		p.answered, err = f.askAll(ctx, stopped)
	}
	if err == nil {
		err = sleep(ctx, time.Until(stopped.Add(pause+time.Second))) // for what it should not do
	}
	_, failed := effects.end()
	if err = errors.Join(err, failed); err != nil {
		return err
	}
	at := <-woken
	for _, agent := range acting {
		lines, err := readLines(filepath.Join(f.dir, shared, string(agent), "lines"))
		if err != nil {
			return err
		}
		claims, err := f.claims(ctx, agent)
		if err != nil {
			return err
		}
		p.judge(lines, claims, victim.ID, at)
	}
	return nil
}

// count numbers messages: what callers take.
func count(ctx context.Context, numbers chan<- int) {
	for n := 1; ; n++ {
		select {
		case numbers <- n:
		case <-ctx.Done():
			close(numbers)
			return
		}
	}
}

// line is what one effect left.
type line struct {
	again   bool
	message string
	at      time.Time
}

func readLines(path string) (lines []line, err error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read what effects left: %w", err)
	}
	defer file.Close()
	for text := bufio.NewScanner(file); text.Scan(); {
		fields := strings.Fields(text.Text())
		if len(fields) != 3 {
			return nil, fmt.Errorf("%s: an effect left %q", path, text.Text())
		}
		micros, err := strconv.ParseInt(strings.NewReplacer(".", "", ",", "").Replace(fields[2]), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%s: an effect left %q: %w", path, text.Text(), err)
		}
		lines = append(lines, line{fields[0] == "again", fields[1], time.UnixMicro(micros)})
	}
	return lines, nil
}

// judge counts the effects of an agent, and those among them that are stale: one that the stopped host had claimed and began after it was woken; one that came
// twice for one call; one that came after the agent was told that it was lost. Calls after the first of a message leave lines that are alike: there may be as many
// as were claimed, and after the host was woken as many as others claimed.
func (p *paused) judge(lines []line, claims map[string][]events.HostID, victim events.HostID, woken time.Time) {
	type left struct{ first, again, late int } // calls that may still leave a line
	calls, stale := map[string]*left{}, map[string]bool{}
	for message, claimed := range claims {
		calls[message] = &left{first: 1, again: len(claimed) - 1}
		for _, by := range claimed[1:] {
			if by != victim && by != "" {
				calls[message].late++
			}
		}
	}
	toldLost := map[string]bool{}
	for _, l := range lines {
		c, late := calls[l.message], l.at.After(woken)
		switch {
		case c == nil: // nothing was claimed
			stale[l.message] = true
		case l.again:
			p.again++
			toldLost[l.message] = true
			if c.again--; late {
				c.late--
			}
			stale[l.message] = stale[l.message] || c.again < 0 || c.late < 0
		default:
			c.first--
			stale[l.message] = stale[l.message] || c.first < 0 || toldLost[l.message] || late && claims[l.message][0] == victim
		}
	}
	p.effects += len(lines)
	for _, is := range stale {
		if is {
			p.stale++
		}
	}
}

// claims are the hosts that began the calls of each message of an agent, in order.
func (h *hosts) claims(ctx context.Context, agent events.AgentID) (map[string][]events.HostID, error) {
	claims, message := map[string][]events.HostID{}, ""
	stream := events.AgentStream(agent)
	for next, more := events.Revision(0), true; more; {
		page, err := h.journal.Read(ctx, stream, next, storage.Forward, storage.Limit{})
		if err != nil {
			return nil, err
		}
		for i := range page.Events {
			event, err := page.Events[i].Event()
			if err != nil {
				return nil, err
			}
			switch e := event.(type) {
			case events.MessageReceived:
				message = e.Inline
			case events.ToolRequested:
				host, err := h.claim(ctx, events.RequestID(page.Events[i].Ref()))
				if err != nil {
					return nil, err
				}
				claims[message] = append(claims[message], host)
			}
		}
		next += events.Revision(len(page.Events))
		more = len(page.Events) > 0 && next <= page.Last
	}
	return claims, nil
}

func (h *hosts) claim(ctx context.Context, request events.RequestID) (events.HostID, error) {
	page, err := h.journal.Read(ctx, events.EffectStream(request), 0, storage.Forward, storage.Limit{Events: 1})
	if err != nil || len(page.Events) == 0 {
		return "", err
	}
	event, err := page.Events[0].Event()
	claimed, is := event.(events.EffectClaimed)
	if err == nil && !is {
		err = fmt.Errorf("the claim of %s is %s", request, page.Events[0].Kind)
	}
	return events.HostID(claimed.Host), err
}

// measureDrain has a host hand over what it holds, and says how long the first command to each of its agents took that was under way then or sent later.
func (h *hosts) measureDrain(ctx context.Context, victim *host, agents []events.AgentID, refused *refusals) (moved, others []time.Duration, err error) {
	f, err := h.fault(ctx, victim, agents, refused)
	if err != nil {
		return nil, nil, err
	}
	var calls []called
	var begun time.Time
	others, err = f.during(ctx, func() error {
		load := f.load(ctx, drainCalls, f.mine, f.living, echo, refused)
		err := sleep(ctx, settleTime)
		begun = time.Now()
		victim.down = true
		err = errors.Join(err, victim.Stop(), sleep(ctx, settleTime))
		for err == nil && len(firstAfter(load.seen(), begun)) < len(f.mine) { // each is called once more
			err = sleep(ctx, settleTime)
		}
		var failed error
		calls, failed = load.end()
		return errors.Join(err, failed)
	})
	for _, c := range firstAfter(calls, begun) {
		moved = append(moved, c.accepted.Sub(c.sent))
	}
	return moved, others, errors.Join(err, h.again(ctx, victim))
}

// seen is what was answered so far.
func (l *load) seen() []called {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.calls)
}

// firstAfter is the first call of each agent that was accepted after a time.
func firstAfter(calls []called, begun time.Time) map[events.AgentID]called {
	first := map[events.AgentID]called{}
	for _, c := range calls {
		if known, is := first[c.agent]; c.accepted.After(begun) && (!is || c.accepted.Before(known.accepted)) {
			first[c.agent] = c
		}
	}
	return first
}

func sleep(ctx context.Context, length time.Duration) error {
	select {
	case <-time.After(length):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
