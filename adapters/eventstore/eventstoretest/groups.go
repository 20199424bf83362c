package eventstoretest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/persistent"
	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
)

// group is a persistent subscription. What was created and how far it is are stored; the rest belongs to the leader and ends with its term.
type group struct {
	name, stream string // an empty stream: everything
	key          string
	settings     *persistent.CreateReq_Settings
	filter       *filter
	start        uint64 // of everything: a record that begins before is not the group's
	first        int64  // of a stream: the same by revision
	checkpoint   int    // records that are done with, as was stored
	running      *running
}

// running is a group of a leader.
type running struct {
	next    int        // index of the next record to deliver
	again   []*message // to be delivered once more, in the order of the log
	flight  []*message // delivered
	members []*member
	turn    int // whose turn it is, of the members
	settled int // messages since the last checkpoint
	noted   time.Time
	parked  int
}

// message is an event on its way to a member.
type message struct {
	at      int // its record's index
	r       *record
	retries int32
	to      *member
	due     time.Time // when it comes again
	tracked bool      // false: its id was in flight already
}

// member is a consumer that has joined.
type member struct {
	size  int // messages in flight
	queue []*message
	news  chan struct{}
	gone  chan struct{} // closed when the group has ended for it
}

// record of a group's stream.
func (c *Cluster) note(stream, kind, data string) {
	c.store(&write{stream: stream, done: make(chan struct{}), records: []*record{{
		id: uuid.New(), stream: stream, kind: kind, contentType: "application/json", data: []byte(data),
	}}})
}

// startGroups has the leader's groups go on from their checkpoints. Until then joins are dropped without an answer.
func (c *Cluster) startGroups() {
	c.subsystem = true
	for _, g := range c.groups {
		g.run()
	}
	c.push()
	c.settle()
}

func (g *group) run() { g.running = &running{next: g.checkpoint, noted: time.Now()} }

// stopGroups drops all consumers.
func (c *Cluster) stopGroups() {
	for _, g := range c.groups {
		if g.running == nil {
			continue
		}
		for _, m := range g.running.members {
			close(m.gone)
		}
		g.running = nil
	}
}

// has reports whether a record is the group's.
func (g *group) has(r *record) bool {
	if g.stream != "" {
		return !r.hidden && r.stream == g.stream && r.revision >= g.first
	}
	return r.begin >= g.start && g.filter.chooses(r)
}

// push gives every group's members what they have room for. The lock is held, here and below.
func (c *Cluster) push() {
	for _, g := range c.groups {
		if g.running != nil {
			g.push(c)
		}
	}
}

func (g *group) push(c *Cluster) {
	run := g.running
	for {
		to := run.free()
		if to == nil {
			return
		}
		m := run.take(g, c)
		if m == nil {
			return
		}
		m.to = to
		if limit := g.timeout(); limit > 0 {
			m.due = time.Now().Add(limit)
		}
		m.tracked = !slices.ContainsFunc(run.flight, func(other *message) bool { return other.r.id == m.r.id })
		run.flight = append(run.flight, m)
		to.queue = append(to.queue, m)
		select {
		case to.news <- struct{}{}:
		default:
		}
	}
}

// free is the next member that has room.
func (run *running) free() *member {
	for i := range run.members {
		m := run.members[(run.turn+i)%len(run.members)]
		count := 0
		for _, other := range run.flight {
			if other.to == m {
				count++
			}
		}
		if count < m.size {
			run.turn = (run.turn + i + 1) % len(run.members)
			return m
		}
	}
	return nil
}

// take is the next message: one that comes again goes first.
func (run *running) take(g *group, c *Cluster) *message {
	if len(run.again) > 0 {
		m := run.again[0]
		run.again = run.again[1:]
		return m
	}
	for ; run.next < len(c.log.records); run.next++ {
		if r := c.log.records[run.next]; g.has(r) {
			run.next++
			return &message{at: run.next - 1, r: r}
		}
	}
	return nil
}

func (g *group) timeout() time.Duration {
	if ticks := g.settings.GetMessageTimeoutTicks(); ticks > 0 {
		return time.Duration(ticks) * 100
	}
	return time.Duration(g.settings.GetMessageTimeoutMs()) * time.Millisecond
}

func (g *group) checkpointAfter() time.Duration {
	if ticks := g.settings.GetCheckpointAfterTicks(); ticks > 0 {
		return time.Duration(ticks) * 100
	}
	return time.Duration(g.settings.GetCheckpointAfterMs()) * time.Millisecond
}

// settle is done with messages in flight that a member names: all with the id.
func (g *group) settle(m *member, id uuid.UUID) {
	run := g.running
	run.flight = slices.DeleteFunc(run.flight, func(other *message) bool {
		settled := other.to == m && other.r.id == id
		if settled {
			run.settled++
		}
		return settled
	})
}

// retry has messages come again that are in flight; those that came too often are parked.
func (g *group) retry(which func(m *message) bool) {
	run := g.running
	var again []*message
	run.flight = slices.DeleteFunc(run.flight, func(m *message) bool {
		if !which(m) {
			return false
		}
		if m.tracked {
			again = append(again, m)
		}
		return true
	})
	for _, m := range again {
		if m.retries >= g.settings.GetMaxRetryCount() {
			run.parked++
			run.settled++
			continue
		}
		run.again = append(run.again, &message{at: m.at, r: m.r, retries: m.retries + 1})
	}
	slices.SortFunc(run.again, func(a, b *message) int { return a.at - b.at })
}

// leave ends a membership; what it had in flight comes again.
func (g *group) leave(c *Cluster, m *member) {
	if g.running == nil || !slices.Contains(g.running.members, m) {
		return
	}
	g.running.members = slices.DeleteFunc(g.running.members, func(other *member) bool { return other == m })
	g.running.turn = 0
	g.retry(func(other *message) bool { return other.to == m })
	g.push(c)
}

// tick is what is due by time: messages that nobody answers, and checkpoints.
func (c *Cluster) tick(now time.Time) {
	if c.leader == nil || !c.leader.healthy() || !c.quorum() || !c.subsystem {
		return
	}
	for _, g := range c.groups {
		if g.running == nil {
			continue
		}
		g.retry(func(m *message) bool { return g.timeout() > 0 && !m.due.After(now) })
		g.push(c)
		if now.Sub(g.running.noted) >= g.checkpointAfter() && g.running.settled >= int(max(g.settings.GetMinCheckpointCount(), 1)) {
			g.keep(c)
		}
	}
}

// keep stores how far the group is.
func (g *group) keep(c *Cluster) {
	run := g.running
	done := run.next
	for _, m := range slices.Concat(run.again, run.flight) {
		done = min(done, m.at)
	}
	run.settled, run.noted = 0, time.Now()
	if done == g.checkpoint {
		return
	}
	g.checkpoint = done
	c.note("$persistentsubscription-"+g.key+"-checkpoint", "$SubscriptionCheckpoint", strconv.Quote(strconv.FormatUint(c.log.records[done-1].begin, 10)))
}

// groupsService is the service PersistentSubscriptions of one life of a node.
type groupsService struct {
	persistent.UnimplementedPersistentSubscriptionsServer
	node *Node
}

// started refuses what another node has to answer, and waits for the end of the call while the groups have not started: there is no
// answer then. It returns with the lock held if there is no error.
func (n *Node) started(ctx context.Context) error {
	c := n.cluster
	c.mu.Lock()
	err := n.mustLead(ctx)
	if err == nil && c.subsystem {
		return nil
	}
	c.mu.Unlock()
	if err == nil {
		<-ctx.Done()
		err = ctx.Err()
	}
	return err
}

// Create implements persistent.PersistentSubscriptionsServer.
func (s *groupsService) Create(ctx context.Context, request *persistent.CreateReq) (*persistent.CreateResp, error) {
	if err := s.node.started(ctx); err != nil {
		return nil, err
	}
	c, options := s.node.cluster, request.GetOptions()
	defer c.mu.Unlock()
	stream := options.GetStream().GetStreamIdentifier()
	g := &group{name: options.GetGroupName(), stream: string(stream.GetStreamName()), settings: options.GetSettings()}
	g.key = groupKey(g.stream, g.name)
	if c.groups[g.key] != nil {
		return nil, groupFailing(ctx, codes.AlreadyExists, "persistent-subscription-exists", g.stream, options.GetGroupName())
	}
	var err error
	if options.GetAll() != nil {
		err = g.beginAll(c, options.GetAll())
	} else {
		err = g.beginStream(c, options.GetStream())
	}
	if g.settings.GetReadBatchSize() >= g.settings.GetHistoryBufferSize() {
		err = errors.New("the read batch size may not be greater than or equal to the history buffer size")
	}
	if err != nil {
		return nil, groupFailing(ctx, codes.Internal, "persistent-subscription-failed", g.stream, options.GetGroupName(), "reason", err.Error())
	}
	c.groups[g.key] = g
	c.note("$persistentSubscriptionConfig", "$PersistentConfig", strconv.Quote(g.key))
	g.run()
	return &persistent.CreateResp{}, nil
}

func groupKey(stream, name string) string {
	if stream == "" {
		stream = "$all"
	}
	return stream + "::" + name
}

func groupFailing(ctx context.Context, code codes.Code, exception, stream, name string, more ...string) error {
	if stream == "" {
		stream = "$all"
	}
	return failing(ctx, code, "Subscription group "+name+" on stream "+stream+": "+exception,
		append([]string{"exception", exception, "stream-name", stream, "group-name", name}, more...)...)
}

func (g *group) beginStream(c *Cluster, from *persistent.CreateReq_StreamOptions) error {
	revision := uint64(0)
	switch from := from.GetRevisionOption().(type) {
	case *persistent.CreateReq_StreamOptions_Revision:
		revision = from.Revision
	case *persistent.CreateReq_StreamOptions_End:
		revision = math.MaxUint64
	}
	if revision > math.MaxInt64 && revision != math.MaxUint64 {
		return fmt.Errorf("revision %d", revision)
	}
	g.first = int64(revision)
	if revision == math.MaxUint64 {
		g.first = int64(len(c.log.streams[g.stream]))
	}
	return nil
}

func (g *group) beginAll(c *Cluster, from *persistent.CreateReq_AllOptions) (err error) {
	all := view(c.log.records)
	switch at := from.GetAllOption().(type) {
	case *persistent.CreateReq_AllOptions_Position:
		if g.start = at.Position.GetCommitPosition(); g.start > all.last() {
			return fmt.Errorf("the start position %d is beyond the last event", g.start)
		}
	case *persistent.CreateReq_AllOptions_End:
		g.start = all.end()
	}
	if f := from.GetFilter(); f != nil {
		if kinds := f.GetEventType(); kinds != nil {
			g.filter, err = newFilter(true, kinds, f.GetMax(), f.GetCheckpointIntervalMultiplier())
		} else {
			g.filter, err = newFilter(false, f.GetStreamIdentifier(), f.GetMax(), f.GetCheckpointIntervalMultiplier())
		}
	}
	return err
}

// Delete implements persistent.PersistentSubscriptionsServer.
func (s *groupsService) Delete(ctx context.Context, request *persistent.DeleteReq) (*persistent.DeleteResp, error) {
	if err := s.node.started(ctx); err != nil {
		return nil, err
	}
	c, options := s.node.cluster, request.GetOptions()
	defer c.mu.Unlock()
	stream := string(options.GetStreamIdentifier().GetStreamName())
	g := c.groups[groupKey(stream, options.GetGroupName())]
	if g == nil {
		return nil, groupFailing(ctx, codes.NotFound, "persistent-subscription-does-not-exist", stream, options.GetGroupName())
	}
	delete(c.groups, g.key)
	for _, m := range g.running.members {
		close(m.gone)
	}
	g.running = nil
	return &persistent.DeleteResp{}, nil
}
