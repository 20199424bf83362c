package actors

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"example.com/life/events"
	"example.com/life/sagas"
	"example.com/life/sagas/cluster"
)

// A host says what it does in its cluster, and asks the others what they do. Nothing of it is stored, and nothing is decided by it.

const (
	mostShown    = 100 // entities of a host that move, and as many that it cannot hold
	mostUnfit    = 4096
	standingTime = time.Second // that another host has to say what it does
)

// ClusterStatus is a cluster as one of its hosts knows it.
type ClusterStatus struct {
	Cluster string                    `json:"cluster"`
	Host    events.HostID             `json:"host,omitempty"` // that says so; empty: it was read from the cluster's stream
	Epoch   events.Revision           `json:"epoch,string"`
	Mixed   bool                      `json:"mixed"` // the hosts are of different builds
	Hosts   []ClusterHost             `json:"hosts"`
	Pins    map[string][]events.Label `json:"pins,omitempty"` // by stream
}

// ClusterHost is a member.
type ClusterHost struct {
	ID    events.HostID `json:"id"`
	State string        `json:"state"` // joined or draining
	Since events.Micros `json:"since,string"`
	events.HostJoined

	Says    *Standing      `json:"says,omitempty"`           // what it answers
	Skew    *events.Micros `json:"skew_us,string,omitempty"` // how much later its clock is than that of the host which asked it
	Problem string         `json:"problem,omitempty"`        // why it did not answer
}

// Standing is what a host of a cluster says of itself.
type Standing struct {
	Epoch      events.Revision `json:"epoch,string"`   // of its view
	Settled    events.Revision `json:"settled,string"` // the newest epoch as of which it holds nothing that belongs elsewhere
	Entities   int             `json:"entities"`       // agents, wallets and so on in memory
	Lag        events.Micros   `json:"lag_us,string"`  // how late its goroutines are
	Storeless  events.Micros   `json:"storeless_us,string,omitempty"`
	Wall       events.Micros   `json:"wall_us,string"` // its clock
	Handovers  []Handover      `json:"handovers,omitempty"`
	Ineligible []Ineligible    `json:"ineligible,omitempty"`
	More       int             `json:"more,omitempty"` // of both, that are not listed
	Counts     ClusterCounts   `json:"counts"`
}

type (
	// Handover is an entity that is to live on another host, and has not gone yet.
	Handover struct {
		Stream  events.Stream `json:"stream"`
		To      events.HostID `json:"to,omitempty"` // empty: no host may hold it
		Because string        `json:"because"`      // it waits
	}
	// Ineligible is an entity that lives on a host by rank, and cannot.
	Ineligible struct {
		Stream  events.Stream `json:"stream"`
		Holder  events.HostID `json:"holder,omitempty"` // where it lives; empty: no host can hold it
		Because string        `json:"because"`
	}
)

// ClusterCounts are events of a host's life in its cluster, since it started.
type ClusterCounts struct {
	Forwarded  int64 `json:"forwarded,string"`   // commands that it sent to other hosts
	Served     int64 `json:"served,string"`      // commands that it took from other hosts
	HandedOver int64 `json:"handed_over,string"` // entities that went to other hosts
	Received   int64 `json:"received,string"`    // entities with work to do that other hosts handed to it
	TakenOver  int64 `json:"taken_over,string"`  // entities that another writer took over, though they were this host's
	Removals   int64 `json:"removals,string"`    // of other hosts, by this one
	PingsLost  int64 `json:"pings_lost,string"`
}

// counters are counted as they happen; others count removals and pings.
type counters struct {
	forwarded, served, handedOver, received, takenOver atomic.Int64
}

func (c *clustered) counts() ClusterCounts {
	known := c.Member.Standing()
	return ClusterCounts{
		Forwarded: c.count.forwarded.Load(), Served: c.count.served.Load(), HandedOver: c.count.handedOver.Load(), Received: c.count.received.Load(),
		TakenOver: c.count.takenOver.Load(), Removals: known.Removals, PingsLost: known.PingsLost,
	}
}

// NewClusterStatus is a cluster of which nothing but the view is known.
func NewClusterStatus(view *cluster.View) ClusterStatus {
	s := ClusterStatus{Cluster: view.Name, Epoch: view.Epoch, Mixed: view.Mixed(), Hosts: []ClusterHost{}}
	for _, member := range view.Sorted() {
		s.Hosts = append(s.Hosts, ClusterHost{ID: member.ID, State: string(member.State), Since: member.Since, HostJoined: member.Joined})
	}
	for key, pin := range view.Pins {
		if s.Pins == nil {
			s.Pins = map[string][]events.Label{}
		}
		s.Pins[key] = pin.To
	}
	return s
}

// Cluster says how the cluster of this host is doing: it asks all members what they do. With a stream they speak of that entity alone. It is
// answered while the store is away.
func (h *Host) Cluster(ctx context.Context, stream events.Stream) (ClusterStatus, error) {
	c := h.cluster
	if c == nil {
		return ClusterStatus{}, &sagas.RefusalError{Code: sagas.RefusedMissing, Detail: "this host is in no cluster: life serve --cluster NAME makes it a member of one"}
	}
	if stream != "" {
		if err := checkPlaced(stream); err != nil {
			return ClusterStatus{}, &sagas.RefusalError{Code: sagas.RefusedInvalid, Detail: err.Error()}
		}
	}
	view := c.Member.View()
	status := NewClusterStatus(view)
	status.Host = c.self
	var all sync.WaitGroup
	for i := range status.Hosts {
		all.Go(func() { c.askStanding(ctx, &status.Hosts[i], view, stream) })
	}
	all.Wait()
	return status, ctx.Err()
}

// askStanding fills in what a member says of itself.
func (c *clustered) askStanding(ctx context.Context, of *ClusterHost, view *cluster.View, stream events.Stream) {
	if of.ID == c.self {
		says, skew := c.standing(ctx, stream), events.Micros(0)
		of.Says, of.Skew = &says, &skew
		return
	}
	ctx, cancel := context.WithTimeout(ctx, standingTime)
	defer cancel()
	wall, sent := c.Member.Standing().Wall, c.Member.Now()
	answer, err := c.send(ctx, view.Members[of.ID], PeerCall{Standing: &PeerStanding{Stream: stream}})
	switch took := c.Member.Now() - sent; {
	case err != nil:
		of.Problem = err.Error()
		if errors.Is(err, context.DeadlineExceeded) {
			of.Problem = fmt.Sprintf("it did not answer within %s", standingTime)
		}
	case answer.Standing == nil:
		of.Problem = "it answered with something else"
	default:
		skew := answer.Standing.Wall - wall - micros(took/2)
		of.Says, of.Skew = answer.Standing, &skew
	}
}

// standing is what this host says of itself.
func (c *clustered) standing(ctx context.Context, stream events.Stream) Standing {
	known := c.Member.Standing()
	s := Standing{
		Epoch: known.Epoch, Settled: c.host.Settled(), Entities: c.host.Live(), Lag: known.Lag, Storeless: known.Storeless, Wall: known.Wall, Counts: c.counts(),
	}
	s.Handovers = c.handovers(ctx, stream)
	s.Ineligible = c.ineligible(stream)
	s.More = max(0, len(s.Handovers)-mostShown) + max(0, len(s.Ineligible)-mostShown)
	s.Handovers, s.Ineligible = s.Handovers[:min(len(s.Handovers), mostShown)], s.Ineligible[:min(len(s.Ineligible), mostShown)]
	return s
}

// handovers asks the registries what was told to leave and is still here.
func (c *clustered) handovers(ctx context.Context, stream events.Stream) []Handover {
	ctx, cancel := context.WithTimeout(ctx, standingTime/2)
	defer cancel()
	answers := make(chan []Handover, len(c.host.registries()))
	for _, pid := range c.host.registries() {
		c.host.system.Root.Send(pid, moving{stream, func(list []Handover) { answers <- list }})
	}
	var all []Handover
	for range cap(answers) {
		select {
		case list := <-answers:
			all = append(all, list...)
		case <-ctx.Done():
			return all
		case <-c.host.running.Done():
			return all
		}
	}
	slices.SortFunc(all, func(a, b Handover) int { return cmp.Compare(a.Stream, b.Stream) })
	return all
}

// moving answers what was told to leave.
func (r *registry) moving(m moving) {
	var list []Handover
	for id, h := range r.live {
		if stream := r.entityType.stream(id); h.leaving && (m.stream == "" || m.stream == stream) {
			list = append(list, Handover{Stream: stream, To: r.host.cluster.owner(stream), Because: r.host.cluster.waitsFor(stream)})
		}
	}
	m.answer(list)
}

// waitsFor is why an entity does not go at once.
func (c *clustered) waitsFor(stream events.Stream) string {
	agent, is := stream.Agent()
	in := &c.host.inflight
	in.mu.Lock()
	defer in.mu.Unlock()
	for e := in.errands[agent]; is && e != nil; e = e.next {
		switch about := &e.about; {
		case e.released || e.answer != nil:
		case about.Model != "":
			return fmt.Sprintf("model %s has not replied in turn %s, for which it waits for up to %s", about.Model, about.Turn, c.Handover)
		case c.host.unrepeatable(about.Tool):
			return fmt.Sprintf("call %s of %s in turn %s has not ended, and cannot be repeated", about.Call, about.Tool, about.Turn)
		}
	}
	return "what it decided is not stored yet"
}

// unfitness is why the owner of an entity does not hold it.
type unfitness struct {
	holder  events.HostID // empty: no host can
	because string
}

// noteUnfit keeps why this host cannot hold what it owns, and who does instead.
func (c *clustered) noteUnfit(stream events.Stream, holder events.HostID, because error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.unfit[stream]; known || len(c.unfit) < mostUnfit {
		c.unfit[stream] = unfitness{holder, because.Error()}
	}
	c.unfits.Store(int64(len(c.unfit)))
}

// fits forgets what was kept: this host holds the entity.
func (c *clustered) fits(stream events.Stream) {
	if c.unfits.Load() == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.unfit, stream)
	c.unfits.Store(int64(len(c.unfit)))
}

func (c *clustered) ineligible(stream events.Stream) []Ineligible {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []Ineligible
	for of, why := range c.unfit {
		if stream == "" || stream == of {
			list = append(list, Ineligible{Stream: of, Holder: why.holder, Because: why.because})
		}
	}
	slices.SortFunc(list, func(a, b Ineligible) int { return cmp.Compare(a.Stream, b.Stream) })
	return list
}

const instrumentation = "example.com/life/actors"

// measure has what this host counts observed by the meters that the program installed, until the host closes. Without any it costs nothing.
func (c *clustered) measure() error {
	if c.Meters == nil {
		c.Meters = otel.GetMeterProvider()
	}
	meter := c.Meters.Meter(instrumentation)
	var failed []error
	counter := func(name, what string, of func(*ClusterCounts) int64) func(metric.Observer, *ClusterCounts) {
		made, err := meter.Int64ObservableCounter(name, metric.WithDescription(what))
		failed = append(failed, err)
		return func(o metric.Observer, counts *ClusterCounts) { o.ObserveInt64(made, of(counts), c.labelled) }
	}
	counted := []func(metric.Observer, *ClusterCounts){
		counter("life.host.forwarded", "commands sent to other hosts", func(c *ClusterCounts) int64 { return c.Forwarded }),
		counter("life.host.served", "commands taken from other hosts", func(c *ClusterCounts) int64 { return c.Served }),
		counter("life.host.handed_over", "entities that went to other hosts", func(c *ClusterCounts) int64 { return c.HandedOver }),
		counter("life.host.received", "entities with work to do that other hosts handed over", func(c *ClusterCounts) int64 { return c.Received }),
		counter("life.host.taken_over", "entities that another writer took over", func(c *ClusterCounts) int64 { return c.TakenOver }),
		counter("life.host.removals", "other hosts that this one removed", func(c *ClusterCounts) int64 { return c.Removals }),
		counter("life.host.pings_lost", "pings to other hosts without an answer", func(c *ClusterCounts) int64 { return c.PingsLost }),
	}
	entities, err := meter.Int64ObservableGauge("life.host.entities", metric.WithDescription("agents, wallets and so on in memory"))
	held, err2 := meter.Int64ObservableGauge("life.host.held", metric.WithDescription("commands that wait for the host they are for"))
	if err := errors.Join(append(failed, err, err2)...); err != nil {
		return err
	}
	c.measured, err = meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		counts := c.counts()
		for _, observe := range counted {
			observe(o, &counts)
		}
		o.ObserveInt64(entities, int64(c.host.Live()), c.labelled)
		o.ObserveInt64(held, c.held.Load(), c.labelled)
		return nil
	}, entities, held)
	return err
}

// traced is the span of a call to another host, in the trace of the command that it is for.
func (c *clustered) traced(ctx context.Context, to events.HostID, call *PeerCall) (context.Context, trace.Span) {
	if call.Do != nil && call.Do.Traceparent != "" {
		ctx = propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{"traceparent": call.Do.Traceparent})
	}
	ctx, span := c.tracer.Start(ctx, "life.host "+call.asks(), trace.WithSpanKind(trace.SpanKindClient))
	if span.IsRecording() {
		span.SetAttributes(
			attribute.String("life.host", string(c.self)), attribute.String("life.host.to", string(to)),
			attribute.String("life.stream", string(streamOf(call))), attribute.Int("life.hops", call.Hops),
		)
	}
	return ctx, span
}

// tracedRemovals has a span for each host that a view lacks, as it was removed, and the one before has: until what this host is to go on with was woken.
func (c *clustered) tracedRemovals(before, view *cluster.View) (done func(error)) {
	var spans []trace.Span
	for _, member := range membersOf(before) {
		gone, is := view.GoneOf(member.ID)
		if !is || !gone.Removed {
			continue
		}
		_, span := c.tracer.Start(c.host.running, "life.host take over", trace.WithAttributes(
			attribute.String("life.host", string(c.self)), attribute.String("life.host.to", string(gone.ID)),
			attribute.String("life.because", string(gone.Because)), attribute.String("life.by", gone.By),
		))
		spans = append(spans, span)
	}
	return func(err error) {
		for _, span := range spans {
			ended(span, err)
		}
	}
}

func membersOf(view *cluster.View) []cluster.Member {
	if view == nil {
		return nil
	}
	return view.Sorted()
}

// asks names what a call is for.
func (c *PeerCall) asks() string {
	switch {
	case c.Do != nil:
		return "forward"
	case c.Advise != nil:
		return "ask for advice"
	case c.Own != nil:
		return "pull"
	case c.Take != nil:
		return "hand over"
	case c.Keep != nil:
		return "send a snapshot"
	case c.Runs != nil:
		return "ask for a result"
	}
	return "ask how it is doing"
}

func ended(span trace.Span, err error) {
	if err != nil && span.IsRecording() {
		span.RecordError(err)
		span.SetStatus(codes.Error, "")
	}
	span.End()
}
