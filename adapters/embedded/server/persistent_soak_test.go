package server_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/google/uuid"

	"example.com/life/adapters/embedded"
	"example.com/life/adapters/embedded/server"
)

const (
	soakDefault   = 2 * time.Second  // of trouble; LIFE_SOAK says otherwise
	soakEvents    = 60_000           // at most, for each stream
	soakStall     = 15 * time.Second // without any delivery, with consumers there and events to deliver
	soakRestart   = 4                // times the store is closed and opened again
	soakConsumers = 3                // of each group
	soakTimeout   = 700              // milliseconds that a message may be held
)

// soak is a store and a server that come and go, and groups whose consumers do everything that consumers do.
type soak struct {
	t      *testing.T
	dir    string
	log    *slog.Logger
	groups []*soakGroup

	address string // the same for all servers, so that the client finds them
	store   *embedded.Store
	server  *server.Server
	served  chan error
	client  *esdb.Client
}

// soakGroup is what is known about a group from outside.
type soakGroup struct {
	stream, name string
	strategy     esdb.ConsumerStrategy

	mu        sync.Mutex
	written   map[uuid.UUID]bool
	done      map[uuid.UUID]bool // acknowledged, skipped or stopped at: said so, at least
	delivered int
	again     int
	answers   map[string]int
	last      time.Time // of the newest delivery, or of the last reason to wait for one
	longest   time.Duration
}

func (g *soakGroup) all() bool { return g.stream == "$all" }

// start opens the store and serves it.
func (s *soak) start() {
	var err error
	if s.store, err = embedded.Open(embedded.Config{Dir: s.dir}); err != nil {
		s.t.Fatal(err)
	}
	if s.server, err = server.New(server.Config{Store: s.store, Listen: s.address, Insecure: true, Log: s.log}); err != nil {
		s.t.Fatal(err)
	}
	s.address, s.served = s.server.Addr(), make(chan error, 1)
	go func(serving *server.Server, served chan error) { served <- serving.Serve(context.Background()) }(s.server, s.served)
}

// connect makes the client. It looks for the server as long as it takes: one that has given up answers no call, ever.
func (s *soak) connect() {
	config, err := esdb.ParseConnectionString("esdb://" + s.address + "?tls=false&maxDiscoverAttempts=1000000000&discoveryInterval=20")
	if err != nil {
		s.t.Fatal(err)
	}
	config.Logger = esdb.NoopLogging()
	if s.client, err = esdb.NewClient(config); err != nil {
		s.t.Fatal(err)
	}
}

// stop ends the server and the store. Orderly, the server first: then groups note how far they are. Otherwise the store goes away
// under them, as in a crash.
func (s *soak) stop(orderly bool) {
	if !orderly {
		if err := s.store.Close(); err != nil {
			s.t.Error(err)
		}
	}
	s.server.Close(context.Background())
	if err := <-s.served; err != nil {
		s.t.Error(err)
	}
	if orderly {
		if err := s.store.Close(); err != nil {
			s.t.Error(err)
		}
	}
}

// pause waits a little; false when ctx ends.
func pause(ctx context.Context, length time.Duration) bool {
	timer := time.NewTimer(length)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// write appends to the streams until ctx ends. An append whose outcome is unknown is tried again with the same ids.
func (s *soak) write(ctx context.Context, stream string, groups []*soakGroup, length time.Duration) {
	longest := max(int64(8*time.Millisecond), int64(length)/soakEvents*9) // so that events last as long as the soak
	for total := 0; total < soakEvents && pause(ctx, time.Duration(rand.Int64N(longest))); {
		batch := eventsOf(1 + rand.IntN(8))
		total += len(batch)
		for _, g := range groups {
			g.mu.Lock()
			for _, e := range batch {
				g.written[e.EventID] = true
			}
			g.mu.Unlock()
		}
		for ctx := context.WithoutCancel(ctx); ; {
			call, cancel := context.WithTimeout(ctx, 5*time.Second)
			_, err := s.client.AppendToStream(call, stream, esdb.AppendToStreamOptions{}, batch...)
			cancel()
			if err == nil {
				break
			}
			pause(ctx, 20*time.Millisecond)
		}
	}
}

// consume is one consumer that joins again and again, and does what comes to its mind with what it is given.
func (s *soak) consume(ctx context.Context, g *soakGroup) {
	for ctx.Err() == nil {
		call, cancel := context.WithCancel(ctx)
		if member, err := join(call, s.client, g, uint32(1+rand.IntN(30))); err == nil {
			for range 1 + rand.IntN(400) {
				if !g.receive(ctx, member) {
					break
				}
			}
			member.Close()
		}
		cancel()
		pause(ctx, time.Duration(rand.IntN(30))*time.Millisecond)
	}
}

func join(ctx context.Context, client *esdb.Client, g *soakGroup, buffer uint32) (*esdb.PersistentSubscription, error) {
	options := esdb.SubscribeToPersistentSubscriptionOptions{BufferSize: buffer}
	if g.all() {
		return client.SubscribeToPersistentSubscriptionToAll(ctx, g.name, options)
	}
	return client.SubscribeToPersistentSubscription(ctx, g.stream, g.name, options)
}

// receive takes one event and answers it in some way; false when the consumer was dropped.
func (g *soakGroup) receive(ctx context.Context, member *esdb.PersistentSubscription) bool {
	e := member.Recv().EventAppeared
	if e == nil {
		return false
	}
	g.note(e)
	answer, err := "ack", error(nil)
	switch dice := rand.IntN(1000); {
	case dice < 30:
		answer, err = "retry", member.Nack("again", esdb.NackActionRetry, e.Event)
	case dice < 60:
		answer, err = "unknown", member.Nack("whatever", esdb.NackActionUnknown, e.Event)
	case dice < 80:
		answer, err = "park", member.Nack("aside", esdb.NackActionPark, e.Event)
	case dice < 90:
		answer = "skip"
		g.finished(e)
		err = member.Nack("no", esdb.NackActionSkip, e.Event)
	case dice < 95:
		g.finished(e)
		answer, err = "stop", member.Nack("stop", esdb.NackActionStop, e.Event)
	case dice < 110:
		answer = "silence"
	default:
		if dice < 130 {
			pause(ctx, time.Duration(rand.IntN(100))*time.Millisecond)
		}
		g.finished(e)
		err = member.Ack(e.Event)
	}
	g.mu.Lock()
	g.answers[answer]++
	g.mu.Unlock()
	return err == nil
}

func (g *soakGroup) note(e *esdb.EventAppeared) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.delivered++
	if e.RetryCount > 0 {
		g.again++
	}
	now := time.Now()
	g.longest = max(g.longest, now.Sub(g.last))
	g.last = now
}

func (g *soakGroup) finished(e *esdb.EventAppeared) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.done[e.Event.Event.EventID] = true
}

// drain is a consumer that acknowledges everything, until the group has nothing left; it returns what it was given as replays.
func (s *soak) drain(ctx context.Context, g *soakGroup, nothingLeft func(*esdb.PersistentSubscriptionInfo) bool) map[uuid.UUID]int {
	call, cancel := context.WithCancel(ctx)
	defer cancel()
	member, err := join(call, s.client, g, 100)
	if err != nil {
		s.t.Fatalf("join %s: %v", g.name, err)
	}
	replayed := map[uuid.UUID]int{}
	received := make(chan struct{})
	go func() {
		defer close(received)
		for {
			e := member.Recv().EventAppeared
			if e == nil {
				return
			}
			g.note(e)
			g.finished(e)
			if link := e.Event.Link; link != nil && strings.HasSuffix(link.StreamID, "-parked") {
				replayed[e.Event.Event.EventID]++
			}
			if member.Ack(e.Event) != nil {
				return
			}
		}
	}()
	for {
		known := s.info(ctx, g)
		if nothingLeft(known) {
			break
		}
		if !pause(ctx, 50*time.Millisecond) {
			s.t.Fatalf("group %s does not come to an end: %s %+v", g.name, known.Status, known.Stats)
		}
	}
	member.Close()
	<-received
	return replayed
}

func (s *soak) info(ctx context.Context, g *soakGroup) *esdb.PersistentSubscriptionInfo {
	var known *esdb.PersistentSubscriptionInfo
	var err error
	if g.all() {
		known, err = s.client.GetPersistentSubscriptionInfoToAll(ctx, g.name, esdb.GetPersistentSubscriptionOptions{})
	} else {
		known, err = s.client.GetPersistentSubscriptionInfo(ctx, g.stream, g.name, esdb.GetPersistentSubscriptionOptions{})
	}
	if err != nil {
		s.t.Fatalf("ask about %s: %v", g.name, err)
	}
	return known
}

// idle reports that all that was read is done, and noted.
func idle(g *soakGroup) func(*esdb.PersistentSubscriptionInfo) bool {
	return func(i *esdb.PersistentSubscriptionInfo) bool {
		stats := i.Stats
		saved := g.all() || stats.LastKnownEventRevision == nil || stats.LastCheckpointedEventRevision != nil && *stats.LastCheckpointedEventRevision == *stats.LastKnownEventRevision
		return i.Status == "Live" && saved && stats.TotalInFlightMessages == 0 && stats.RetryBufferCount == 0 && stats.ReadBufferCount == 0
	}
}

// parked returns what stands in a group's parked stream: the ids of the events that it points at.
func (s *soak) parked(ctx context.Context, g *soakGroup) map[uuid.UUID]bool {
	feed, err := s.client.ReadStream(ctx, "$persistentsubscription-"+g.stream+"::"+g.name+"-parked", esdb.ReadStreamOptions{ResolveLinkTos: true}, 1<<40)
	if err != nil {
		s.t.Fatal(err)
	}
	defer feed.Close()
	links, err := drain(feed)
	if failed, ok := esdb.FromError(err); !ok && failed.Code() != esdb.ErrorCodeResourceNotFound {
		s.t.Fatal(err)
	}
	found := map[uuid.UUID]bool{}
	for _, link := range links {
		if found[link.Event.EventID] {
			s.t.Errorf("event %s is parked twice by %s", link.Event.EventID, g.name)
		}
		found[link.Event.EventID] = true
	}
	return found
}

func (s *soak) create() {
	settings := esdb.SubscriptionSettingsDefault()
	settings.MessageTimeout, settings.MaxRetryCount, settings.CheckpointAfter = soakTimeout, 4, 200
	settings.CheckpointLowerBound, settings.HistoryBufferSize = 1, 100
	for _, g := range s.groups {
		settings.ConsumerStrategyName = g.strategy
		var err error
		if g.all() {
			filter := &esdb.SubscriptionFilter{Type: esdb.StreamFilterType, Prefixes: []string{"soak-"}}
			err = s.client.CreatePersistentSubscriptionToAll(within(s.t), g.name, esdb.PersistentAllSubscriptionOptions{StartFrom: esdb.Start{}, Settings: &settings, Filter: filter})
		} else {
			err = s.client.CreatePersistentSubscription(within(s.t), g.stream, g.name, esdb.PersistentStreamSubscriptionOptions{StartFrom: esdb.Start{}, Settings: &settings})
		}
		if err != nil {
			s.t.Fatal(err)
		}
	}
}

// TestPersistentSoak has consumers answer at random, fall silent, be slow and go away, while events are written and the store is closed and
// opened again. Whatever they do: deliveries never stop, every event is processed, or parked and then counted there.
func TestPersistentSoak(t *testing.T) {
	length := soakDefault
	if given, err := time.ParseDuration(os.Getenv("LIFE_SOAK")); err == nil {
		length = given
	}
	s := &soak{t: t, dir: t.TempDir(), address: "127.0.0.1:0", log: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelError}))}
	for i, strategy := range []esdb.ConsumerStrategy{esdb.ConsumerStrategyRoundRobin, esdb.ConsumerStrategyDispatchToSingle, esdb.ConsumerStrategyPinned} {
		s.groups = append(s.groups, newSoakGroup(fmt.Sprint("soak-", i%2), "g-"+string(strategy), strategy))
	}
	s.groups = append(s.groups, newSoakGroup("$all", "g-all", esdb.ConsumerStrategyRoundRobin))
	s.start()
	s.connect()
	s.create()
	s.trouble(length)
	t.Run("afterwards", func(t *testing.T) {
		for _, g := range s.groups {
			t.Run(g.name, func(t *testing.T) {
				t.Parallel()
				of := *s
				of.t = t
				of.settle(g, time.Minute+length)
			})
		}
	})
	if err := s.client.Close(); err != nil {
		t.Error(err)
	}
	s.stop(true)
}

// settle has a group come to an end, and accounts for every event.
func (s *soak) settle(g *soakGroup, patience time.Duration) {
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	s.drain(ctx, g, idle(g))
	parked := s.parked(ctx, g)
	if count := s.info(ctx, g).Stats.ParkedMessagesCount; count != int64(len(parked)) {
		s.t.Errorf("it says that %d are parked, its stream has %d", count, len(parked))
	}
	for id := range g.written {
		if !g.done[id] && !parked[id] {
			s.t.Errorf("event %s was neither processed nor parked", id)
		}
	}
	s.replayAll(ctx, g, parked)
	s.t.Logf("%s, %d events, %d deliveries (%d of them again), %d parked and replayed, longest without a delivery %s, answers %v",
		g.stream, len(g.written), g.delivered, g.again, len(parked), g.longest.Round(time.Millisecond), g.answers)
	if g.longest > soakStall {
		s.t.Errorf("it delivered nothing for %s", g.longest)
	}
}

func newSoakGroup(stream, name string, strategy esdb.ConsumerStrategy) *soakGroup {
	return &soakGroup{
		stream: stream, name: name, strategy: strategy, written: map[uuid.UUID]bool{}, done: map[uuid.UUID]bool{},
		answers: map[string]int{}, last: time.Now(),
	}
}

// trouble is the time of writers, consumers and restarts.
func (s *soak) trouble(length time.Duration) {
	ctx, cancel := context.WithTimeout(s.t.Context(), length)
	defer cancel()
	var writers, consumers sync.WaitGroup
	for _, stream := range []string{"soak-0", "soak-1"} {
		var to []*soakGroup
		for _, g := range s.groups {
			if g.all() || g.stream == stream {
				to = append(to, g)
			}
		}
		writers.Go(func() { s.write(ctx, stream, to, length) })
	}
	for _, g := range s.groups {
		for range soakConsumers {
			consumers.Go(func() { s.consume(ctx, g) })
		}
	}
	var restarts atomic.Int64
	for pause(ctx, length/(soakRestart+1)) {
		s.stop(restarts.Add(1)%2 == 0)
		s.start()
	}
	writers.Wait()
	consumers.Wait()
	s.t.Logf("%s of trouble, the store was closed and opened %d times", length, restarts.Load())
}

// replayAll has all parked messages delivered again: each of them, and nothing else, and then none is left.
func (s *soak) replayAll(ctx context.Context, g *soakGroup, parked map[uuid.UUID]bool) {
	var err error
	if g.all() {
		err = s.client.ReplayParkedMessagesToAll(ctx, g.name, esdb.ReplayParkedMessagesOptions{})
	} else {
		err = s.client.ReplayParkedMessages(ctx, g.stream, g.name, esdb.ReplayParkedMessagesOptions{})
	}
	if err != nil {
		s.t.Fatal(err)
	}
	replayed := s.drain(ctx, g, func(i *esdb.PersistentSubscriptionInfo) bool { return i.Stats.ParkedMessagesCount == 0 && idle(g)(i) })
	for id := range parked {
		if replayed[id] == 0 {
			s.t.Errorf("event %s was parked by %s and not replayed", id, g.name)
		}
		delete(replayed, id)
	}
	if len(replayed) > 0 {
		s.t.Errorf("group %s replayed %d events that were not parked", g.name, len(replayed))
	}
	for left := s.parked(ctx, g); len(left) > 0; left = s.parked(ctx, g) { // the stream is truncated a moment after the last answer
		if !pause(ctx, 20*time.Millisecond) {
			s.t.Fatalf("group %s has %d parked events after all were replayed", g.name, len(left))
		}
	}
}
