package eventstore_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/google/uuid"

	"example.com/life/actors/storage"
	"example.com/life/adapters/eventstore"
	"example.com/life/adapters/eventstore/eventstoretest"
	"example.com/life/events"
)

// clusterFault is something that befalls a cluster of three while Life works with it.
type clusterFault struct {
	name  string
	begin func(s *suffering)
	end   func(s *suffering)
	elect bool // another node leads afterwards
}

// clusterFaults are the rows of the table.
func clusterFaults() []clusterFault {
	leader := func(do func(n *eventstoretest.Node)) func(s *suffering) {
		return func(s *suffering) { do(s.leader) }
	}
	followers := func(count int, do func(n *eventstoretest.Node)) func(s *suffering) {
		return func(s *suffering) {
			for _, n := range s.followers[:count] {
				do(n)
			}
		}
	}
	cut := func(what eventstoretest.Cut) func(n *eventstoretest.Node) {
		return func(n *eventstoretest.Node) { n.CutOff(what) }
	}
	return []clusterFault{
		{"leader killed", leader((*eventstoretest.Node).Kill), leader((*eventstoretest.Node).Restart), true},
		{"leader frozen", leader((*eventstoretest.Node).Freeze), leader((*eventstoretest.Node).Thaw), true},
		{"leader is not heard", leader(cut(eventstoretest.Answers)), leader(cut(0)), true},
		{"leader hears nothing", leader(cut(eventstoretest.Requests)), leader(cut(0)), true},
		{"leader cut off", leader(cut(eventstoretest.Requests | eventstoretest.Answers)), leader(cut(0)), true},
		{"leader resigns", func(s *suffering) { s.cluster.Resign() }, func(*suffering) {}, true},
		{"leader and follower frozen, one after another", func(s *suffering) {
			s.followers[0].Freeze()
			s.leader.Freeze()
			s.pause(s.timing.Notice + s.timing.Election)
			s.followers[0].Thaw()
		}, leader((*eventstoretest.Node).Thaw), true},
		{"leader frozen, then killed", func(s *suffering) {
			s.leader.Freeze()
			s.leader.Kill()
		}, leader((*eventstoretest.Node).Restart), true},
		{"leader killed while a follower is frozen", func(s *suffering) {
			s.followers[0].Freeze()
			s.leader.Kill()
			s.pause(s.timing.Notice)
			s.followers[0].Thaw()
		}, leader((*eventstoretest.Node).Restart), true},
		{"follower killed", followers(1, (*eventstoretest.Node).Kill), followers(1, (*eventstoretest.Node).Restart), false},
		{"follower frozen", followers(1, (*eventstoretest.Node).Freeze), followers(1, (*eventstoretest.Node).Thaw), false},
		{"no quorum, and back", func(s *suffering) {
			followers(2, (*eventstoretest.Node).Kill)(s)
			s.pause(2*s.timing.Notice + s.timing.Commit)
			followers(2, (*eventstoretest.Node).Restart)(s)
		}, func(*suffering) {}, false},
		{"all killed, and back", func(s *suffering) {
			s.leader.Kill()
			followers(2, (*eventstoretest.Node).Kill)(s)
			s.pause(s.timing.Notice)
			s.leader.Restart()
			followers(2, (*eventstoretest.Node).Restart)(s)
		}, func(*suffering) {}, false},
		{"leader's name does not resolve", (*suffering).misname, func(*suffering) {}, true},
		{"answers lost", (*suffering).loseAnswers, (*suffering).loseNone, false},
		{"leader killed and answers lost", func(s *suffering) {
			s.loseAnswers()
			s.leader.Kill()
		}, func(s *suffering) {
			s.leader.Restart()
			s.loseNone()
		}, true},
	}
}

// suffering is one run: writers, a reader, a subscriber and a consumer over a cluster that something befalls.
type suffering struct {
	t         *testing.T
	cluster   *eventstoretest.Cluster
	timing    eventstoretest.Config
	journal   *eventstore.Journal // of the host that reads, and of half of the writers
	other     *eventstore.Journal // of another host
	log       *logged
	leader    *eventstoretest.Node
	followers []*eventstoretest.Node
	stop      chan struct{} // closed when writers have written enough

	mu    sync.Mutex
	acks  []eventstoretest.Acknowledged
	times []time.Time // of the acknowledgements
	heard chan struct{}
}

// outcome is what a run shows.
type outcome struct {
	election time.Duration // until somebody led
	silence  time.Duration // the longest time between two acknowledgements
	late     time.Duration // from somebody leading to the next acknowledgement of an append
	found    int           // connections to a node
	repeated int           // appends that were sent more than once
	joined   int           // times that the consumer joined
}

const (
	sufferers = 4 // writers

	// soon is how long an append may take to be acknowledged once the cluster has a leader. Life promises 1 s, or 3 s from the fault when that is
	// later; this much more is for machines that do too much at once. What it really took is in the table.
	soon = 30 * time.Second
)

// TestClusterFaults lets each fault befall a cluster while Life writes, reads, subscribes and consumes, and prints what it cost. Nothing may be
// lost, doubled or stuck. LIFE_FAULT_RUNS is how many runs there are of all faults together; LIFE_FAULT_REAL lets the cluster take as long as real ones.
func TestClusterFaults(t *testing.T) {
	t.Parallel()
	faults := clusterFaults()
	runs := len(faults)
	if given := os.Getenv("LIFE_FAULT_RUNS"); given != "" {
		number, err := strconv.Atoi(given)
		if err != nil {
			t.Fatalf("LIFE_FAULT_RUNS is %q, want a number", given)
		}
		runs = number
	}
	outcomes := make([][]outcome, len(faults))
	var mu sync.Mutex
	var wait sync.WaitGroup
	slots := make(chan struct{}, 8) // runs wait most of the time
	for i := range runs {
		wait.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			fault := faults[i%len(faults)]
			t.Run(fmt.Sprintf("%s/seed %d", fault.name, i), func(t *testing.T) {
				o := suffer(t, fault, uint64(i))
				mu.Lock()
				defer mu.Unlock()
				outcomes[i%len(faults)] = append(outcomes[i%len(faults)], o)
			})
		})
	}
	wait.Wait()
	t.Log(faultTable(faults, outcomes))
}

// faultTable is fault × what Life did × seconds out.
func faultTable(faults []clusterFault, outcomes [][]outcome) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\nfault\truns\ta leader after\tout (median, most)\tafter there was a leader\tconnections\trepeated appends\tjoins")
	for i, fault := range faults {
		list := outcomes[i]
		if len(list) == 0 {
			continue
		}
		of := func(pick func(o outcome) time.Duration) (median, most string) {
			values := make([]time.Duration, len(list))
			for k, o := range list {
				values[k] = pick(o)
			}
			slices.Sort(values)
			seconds := func(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }
			return seconds(values[len(values)/2]), seconds(values[len(values)-1])
		}
		mean := func(pick func(o outcome) int) string {
			sum := 0
			for _, o := range list {
				sum += pick(o)
			}
			return fmt.Sprintf("%.1f", float64(sum)/float64(len(list)))
		}
		election, _ := of(func(o outcome) time.Duration { return o.election })
		median, most := of(func(o outcome) time.Duration { return o.silence })
		_, late := of(func(o outcome) time.Duration { return o.late })
		fmt.Fprintf(w, "%s\t%d\t%s\t%s, %s\t%s at most\t%s\t%s\t%s\n", fault.name, len(list), election, median, most, late,
			mean(func(o outcome) int { return o.found }), mean(func(o outcome) int { return o.repeated }), mean(func(o outcome) int { return o.joined }))
	}
	w.Flush()
	return b.String()
}

// pace is a cluster's version and how quick it is, by chance; as quick as real ones with LIFE_FAULT_REAL.
func pace(seed uint64) eventstoretest.Config {
	random := rand.New(rand.NewPCG(seed, 20))
	between := func(least, most time.Duration) time.Duration {
		return least + time.Duration(random.Int64N(int64(most-least)))
	}
	profiles := eventstoretest.Profiles()
	config := eventstoretest.Config{
		Nodes: 3, Profile: profiles[random.IntN(len(profiles))], Seed: seed, Replicate: between(100*time.Microsecond, 3*time.Millisecond),
		Election: between(50*time.Millisecond, 400*time.Millisecond), Notice: between(200*time.Millisecond, 800*time.Millisecond),
		Subsystem: between(time.Millisecond, 700*time.Millisecond), Commit: 500 * time.Millisecond,
	}
	if os.Getenv("LIFE_FAULT_REAL") != "" {
		config.Election, config.Notice = between(400*time.Millisecond, 4*time.Second), between(7*time.Second, 9*time.Second)
		config.Subsystem, config.Commit, config.Tick = 30*time.Millisecond, 2*time.Second, time.Second
	}
	return config
}

// suffer is one run.
func suffer(t *testing.T, fault clusterFault, seed uint64) outcome {
	timing := pace(seed)
	cluster := eventstoretest.Start(t, timing)
	noted := &logged{}
	s := &suffering{
		t: t, cluster: cluster, timing: timing, leader: cluster.Leader(), followers: cluster.Followers(), log: noted,
		stop: make(chan struct{}), heard: make(chan struct{}),
		journal: connect(t, eventstore.Config{Connection: cluster.Connection(), Log: slog.New(noted)}),
		other:   connect(t, eventstore.Config{Connection: cluster.Connection()}),
	}
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	following, unfollow := context.WithCancel(ctx)
	defer unfollow()
	var writing, reading sync.WaitGroup
	feed, handled := &arrivals{}, &arrivals{}
	reading.Go(func() { s.subscribe(following, feed) })
	for cluster.Counts().Followed == 0 && ctx.Err() == nil { // it begins where nothing matches yet
		s.pause(time.Millisecond)
	}
	reading.Go(func() { s.consume(following, handled) })
	reading.Go(func() { s.read(following) })
	for w := range sufferers {
		writing.Go(func() { s.write(ctx, w, rand.New(rand.NewPCG(seed, uint64(w)))) })
	}
	s.await(ctx, time.Time{}, 5*sufferers)
	o := s.befall(ctx, fault)
	close(s.stop)
	writing.Wait()
	stored := s.stored()
	feed.await(ctx, t, "the subscriber", stored)
	handled.await(ctx, t, "the consumer", stored)
	unfollow()
	reading.Wait()
	s.check(feed, handled, stored)
	counts := cluster.Counts()
	o.found, o.repeated, o.joined = int(noted.found.Load()), counts.Repeated, counts.Joined
	return o
}

// befall lets a fault begin, waits until everyone has gone on, and lets it end.
func (s *suffering) befall(ctx context.Context, fault clusterFault) (o outcome) {
	began, not := time.Now(), s.leader
	if fault.begin(s); !fault.elect {
		not = nil
	}
	s.elected(ctx, not)
	led := time.Now()
	o.election = led.Sub(began)
	if o.late = s.await(ctx, led, 1).Sub(led); o.late > soon {
		s.t.Errorf("the next append was acknowledged %s after there was a leader", o.late)
	}
	s.await(ctx, led, 5*sufferers)
	fault.end(s)
	s.await(ctx, time.Now(), 5*sufferers)
	o.silence = s.silence(began)
	return o
}

func (s *suffering) pause(d time.Duration) { <-time.After(d) }

func (s *suffering) elected(ctx context.Context, not *eventstoretest.Node) {
	if _, err := s.cluster.AwaitLeader(ctx, not); err != nil {
		s.t.Errorf("no election: %v", err)
	}
}

// misname has the next leader be known by a name that means nothing outside: what a caller is told names it. Then it is corrected.
func (s *suffering) misname() {
	for _, n := range s.followers {
		n.Advertise("leader.invalid", n.Port())
	}
	s.cluster.Resign()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	s.elected(ctx, s.leader)
	for named := false; !named; {
		short, stop := context.WithTimeout(ctx, time.Second)
		_, err := s.journal.Append(short, "misnamed", storage.ExpectAny, happened("misnamed", 1))
		stop()
		named = err != nil && strings.Contains(err.Error(), "leader.invalid")
		if err == nil || ctx.Err() != nil {
			s.t.Errorf("an append while gossip names a leader that does not resolve: %v; want an error that names it", err)
			break
		}
	}
	for _, n := range s.followers {
		n.Advertise("127.0.0.1", n.Port())
	}
}

func (s *suffering) loseAnswers() {
	s.cluster.LoseByChance(eventstoretest.Faults{Ended: 0.1, Unknown: 0.1, Reset: 0.05, Silent: 0.005})
}

func (s *suffering) loseNone() { s.cluster.LoseByChance(eventstoretest.Faults{}) }

// write appends until enough is written. Each append has to be acknowledged in the end, where it can only be.
func (s *suffering) write(ctx context.Context, number int, random *rand.Rand) {
	stream := events.Stream(fmt.Sprintf("w-%d", number))
	journal, last := s.journal, events.NoRevision
	if number >= sufferers/2 {
		journal = s.other
	}
	for round := 0; ; round++ {
		select {
		case <-s.stop:
			return
		case <-ctx.Done():
			s.t.Errorf("writer %d was not done in time", number)
			return
		case <-time.After(time.Duration(1+random.IntN(5)) * time.Millisecond):
		}
		expected := storage.ExpectRevision(last)
		if number%2 == 1 {
			expected = storage.ExpectAny
		}
		batch := happened(fmt.Sprint(round), 1+random.IntN(3))
		appended, err := journal.Append(ctx, stream, expected, batch)
		if err != nil {
			s.t.Errorf("writer %d, round %d, expecting %s: %v", number, round, expected, err)
			return
		}
		if appended.First != last+1 {
			s.t.Errorf("writer %d, round %d: stored at %d to %d, want from %d", number, round, appended.First, appended.Last, last+1)
			return
		}
		last = appended.Last
		s.acknowledge(stream, appended, batch)
	}
}

func (s *suffering) acknowledge(stream events.Stream, appended storage.Appended, batch []events.Envelope) {
	ids := make([]uuid.UUID, len(batch))
	for i := range batch {
		ids[i] = batch[i].ID
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.acks = append(s.acks, eventstoretest.Acknowledged{
		Stream: string(stream), First: int64(appended.First), Last: int64(appended.Last), Place: uint64(appended.Position), IDs: ids,
	})
	s.times = append(s.times, time.Now())
	close(s.heard)
	s.heard = make(chan struct{})
}

// await waits until so many appends were acknowledged after a time, and returns when the last of them was.
func (s *suffering) await(ctx context.Context, after time.Time, count int) time.Time {
	for {
		s.mu.Lock()
		first, _ := slices.BinarySearchFunc(s.times, after, time.Time.Compare)
		times, heard := s.times[first:], s.heard
		s.mu.Unlock()
		if len(times) >= count {
			return times[count-1]
		}
		select {
		case <-heard:
		case <-ctx.Done():
			s.t.Errorf("stuck: %d appends were acknowledged, want %d more", len(times), count)
			return time.Now()
		}
	}
}

// silence is the longest time without an acknowledgement since the fault began.
func (s *suffering) silence(began time.Time) (most time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, at := range s.times {
		if at.After(began) {
			most = max(most, at.Sub(began))
			began = at
		}
	}
	return most
}

// read reads a stream again and again: it shows what was acknowledged before the read began.
func (s *suffering) read(ctx context.Context) {
	for ctx.Err() == nil {
		s.mu.Lock()
		known := int64(-1)
		for _, a := range s.acks {
			if a.Stream == "w-0" {
				known = a.Last
			}
		}
		s.mu.Unlock()
		page, err := s.journal.Read(ctx, "w-0", 1<<40, storage.Backward, storage.Limit{Events: 1})
		switch {
		case ctx.Err() != nil:
		case err != nil:
			s.t.Errorf("read: %v", err)
		case int64(page.Last) < known:
			s.t.Errorf("a read shows the stream at %d, and %d was acknowledged before", page.Last, known)
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// arrivals is what somebody got.
type arrivals struct {
	mu    sync.Mutex
	ids   []uuid.UUID // in the order in which each came first
	known map[uuid.UUID]bool
	again int // that came more than once
}

func (a *arrivals) add(id uuid.UUID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.known[id] {
		a.again++
		return
	}
	if a.known == nil {
		a.known = map[uuid.UUID]bool{}
	}
	a.known[id] = true
	a.ids = append(a.ids, id)
}

// await waits until as much has come as is stored.
func (a *arrivals) await(ctx context.Context, t *testing.T, who string, stored []uuid.UUID) {
	for {
		a.mu.Lock()
		count := len(a.ids)
		a.mu.Unlock()
		if count >= len(stored) {
			return
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			t.Errorf("stuck: %s got %d of %d events", who, count, len(stored))
			return
		}
	}
}

// subscribe follows what the writers write, from a store where nothing matches yet.
func (s *suffering) subscribe(ctx context.Context, feed *arrivals) {
	subscription, err := s.journal.Subscribe(ctx, storage.From{Filter: storage.Filter{Streams: []string{"w-"}}})
	if err != nil {
		s.t.Errorf("subscribe: %v", err)
		return
	}
	defer subscription.Close()
	for {
		e, err := subscription.Next(ctx)
		if err != nil {
			if ctx.Err() == nil {
				s.t.Errorf("the subscription ended: %v", err)
			}
			return
		}
		feed.add(e.ID)
	}
}

// consume is the only member of a group, which joins again whenever its membership is lost.
func (s *suffering) consume(ctx context.Context, handled *arrivals) {
	for ctx.Err() == nil {
		err := s.journal.Consume(ctx, "table", storage.From{Filter: storage.Filter{Streams: []string{"w-"}}},
			func(_ context.Context, e events.Envelope) error {
				handled.add(e.ID)
				return nil
			})
		if err == nil || errors.Is(err, storage.ErrClosed) {
			s.t.Errorf("consuming ended: %v", err)
			return
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// stored are the events of the writers, in the store's order.
func (s *suffering) stored() []uuid.UUID { return s.cluster.Events("w-") }

// check compares everything with what is stored.
func (s *suffering) check(feed, handled *arrivals, stored []uuid.UUID) {
	if err := s.cluster.Check(s.acks); err != nil {
		s.t.Error(err)
	}
	if feed.again > 0 {
		s.t.Errorf("the subscriber got %d events twice", feed.again)
	}
	for who, got := range map[string][]uuid.UUID{"subscriber": feed.ids, "consumer": handled.ids} {
		if !slices.Equal(got, stored) {
			s.t.Errorf("the %s got %d events that are not the %d stored, in their order", who, len(got), len(stored))
		}
	}
}

// logged counts what the journal says.
type logged struct{ found atomic.Int64 }

func (l *logged) Enabled(context.Context, slog.Level) bool { return true }
func (l *logged) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *logged) WithGroup(string) slog.Handler            { return l }
func (l *logged) Handle(_ context.Context, r slog.Record) error {
	if r.Message == "the event store is there" {
		l.found.Add(1)
	}
	return nil
}
