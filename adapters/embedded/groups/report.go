package groups

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

// Report is how a group is.
type Report struct {
	Key            Key
	Settings       Settings
	StartFrom      string // in the form of EventStoreDB's tools
	Status         string // Live; Behind, …; Stalled since …; with what is in trouble
	LastCheckpoint string // empty: none
	LastKnown      string // of the source; empty: it is empty
	Consumers      []ConsumerReport
	Rate           int   // messages delivered per second since the group was started
	Items, Recent  int64 // delivered, since then and since the last report
	Buffered       int   // read and waiting
	Retrying       int   // waiting to be delivered again
	InFlight       int   // held by consumers, all told
	Outstanding    int   // ids that wait for an answer
	Undone         int   // read and not done
	Parked         int64 // in the parked stream and not being replayed
	Parking        int   // to be written there
	Stalls         int   // how often the watchdog had it read again
	Timeouts       uint64
	Troubles       []string // what fails and is tried again
}

// ConsumerReport is how a consumer is.
type ConsumerReport struct {
	Name, User    string
	Rate          int
	Items, Recent int64
	Free          int // how many more messages it may hold
	InFlight      int
	Latencies     []events.Micros // of the newest answers, in rising order; only with ExtraStatistics
}

func (r *runner) report(ctx context.Context) (Report, error) {
	last, err := lastPlace(ctx, r.config.Store, r.key.Stream)
	if err != nil && !errors.Is(err, storage.ErrDeleted) {
		return Report{}, fmt.Errorf("report on %s: %w", r.key, err)
	}
	parked, err := r.config.Store.Read(ctx, r.key.parkedStream(), 0, storage.Forward, storage.Limit{Events: 1})
	if err != nil && !errors.Is(err, storage.ErrDeleted) {
		return Report{}, fmt.Errorf("report on %s: %w", r.key, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	m := r.machine
	m.now = max(m.now, r.config.Now())
	report := Report{
		Key: r.key, Settings: r.entry.settings, StartFrom: r.key.formatStart(r.entry.settings.Start), Status: r.status(max(last, m.read)),
		Rate: m.counts.rate(m.now), Items: m.counts.items, Recent: m.counts.recent(),
		Buffered: len(m.buffer), Retrying: len(m.retry), Outstanding: len(m.held), Undone: m.source.length + m.replays.length,
		Parking: len(m.parking), Stalls: r.stall.count, Timeouts: m.timeouts, Troubles: slices.Sorted(maps.Values(r.troubles)),
	}
	if m.saved != nowhere {
		report.LastCheckpoint = r.key.format(m.saved)
	}
	if known := max(last, m.read); known != nowhere && known >= 0 {
		report.LastKnown = r.key.format(known)
	}
	if len(parked.Events) > 0 {
		report.Parked = int64(max(parked.Last+1-max(parked.Events[0].Revision, m.replayed), 0))
	}
	inFlight := m.inFlight()
	for _, c := range m.consumers {
		report.InFlight += inFlight[c]
		report.Consumers = append(report.Consumers, c.report(r.entry.settings.ExtraStatistics, inFlight[c], m.now))
	}
	return report, nil
}

// inFlight counts what consumers hold: ids, as answers name no more.
func (m *machine) inFlight() map[*consumer]int {
	counts := map[*consumer]int{}
	for _, first := range m.held {
		counts[first.holder]++
		for i, twin := range first.twins {
			others := func(other *message) bool { return other.holder == twin.holder }
			if twin.holder != nil && twin.holder != first.holder && !slices.ContainsFunc(first.twins[:i], others) {
				counts[twin.holder]++
			}
		}
	}
	return counts
}

func (c *consumer) report(latencies bool, inFlight int, now events.Micros) ConsumerReport {
	report := ConsumerReport{
		Name: c.name, User: c.user, Rate: c.counts.rate(now), Items: c.counts.items, Recent: c.counts.recent(),
		Free: max(c.buffer-c.held, 0), InFlight: inFlight,
	}
	if latencies {
		report.Latencies = slices.Sorted(slices.Values(c.counts.latencies))
	}
	return report
}

// recent is what was delivered since it was last asked.
func (c *counts) recent() int64 {
	recent := c.items - c.seen
	c.seen = c.items
	return recent
}

// status says in a word, or a few, what the group does. The mutex is held.
func (r *runner) status(last place) string {
	m := r.machine
	var words []string
	switch {
	case !r.begun:
		words = append(words, "NotReady")
	case m.read < last && m.wants():
		words = append(words, "Behind", "OutstandingPageRequest")
	case m.read < last:
		words = append(words, "Behind")
	default:
		words = append(words, "Live")
	}
	if r.wantsMoreReplays() {
		words = append(words, "ReplayingParkedMessages")
	}
	if r.stall.since != 0 {
		words = append(words, fmt.Sprintf("Stalled for %d s", (m.now-r.stall.since)/events.Second))
	}
	for _, step := range slices.Sorted(maps.Keys(r.troubles)) {
		words = append(words, "Trouble with "+r.troubles[step])
	}
	return strings.Join(words, ", ")
}
