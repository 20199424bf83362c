package actors_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"example.com/life/actors"
	"example.com/life/events"
)

// meter keeps what is observed, by name.
type meter struct {
	metricnoop.Meter
	metricnoop.Observer

	callback metric.Callback
	observed map[string]int64
}

type meters struct {
	metricnoop.MeterProvider
	only *meter
}

func (m meters) Meter(string, ...metric.MeterOption) metric.Meter { return m.only }

func (m *meter) Int64ObservableCounter(name string, _ ...metric.Int64ObservableCounterOption) (metric.Int64ObservableCounter, error) {
	return counter{name: name}, nil
}

func (m *meter) Int64ObservableGauge(name string, _ ...metric.Int64ObservableGaugeOption) (metric.Int64ObservableGauge, error) {
	return gauge{name: name}, nil
}

type counter struct {
	metricnoop.Int64ObservableCounter
	name string
}

type gauge struct {
	metricnoop.Int64ObservableGauge
	name string
}

func (m *meter) RegisterCallback(f metric.Callback, _ ...metric.Observable) (metric.Registration, error) {
	m.callback = f
	return metricnoop.Registration{}, nil
}

func (m *meter) ObserveInt64(of metric.Int64Observable, value int64, _ ...metric.ObserveOption) {
	switch of := of.(type) {
	case counter:
		m.observed[of.name] = value
	case gauge:
		m.observed[of.name] = value
	}
}

// spans keeps the names of spans, and the trace that each belongs to.
type spans struct {
	tracenoop.Tracer

	mu      sync.Mutex
	started []string
}

type tracers struct {
	tracenoop.TracerProvider
	only *spans
}

func (t tracers) Tracer(string, ...trace.TracerOption) trace.Tracer { return t.only }

func (s *spans) Start(ctx context.Context, name string, _ ...trace.SpanStartOption) (context.Context, trace.Span) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if of := trace.SpanContextFromContext(ctx); of.IsValid() {
		name += " in " + of.TraceID().String()[:4]
	}
	s.started = append(s.started, name)
	return ctx, tracenoop.Span{}
}

func (s *spans) names() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.started)
}

// TestStanding: any host says of all what they do: what waits to move and for what, and what lives elsewhere because its own host cannot hold it.
func TestStanding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHosts(t)
		measured, traced := &meter{observed: map[string]int64{}}, &spans{}
		a := h.join("a", func(_ *events.HostJoined, c *actors.Config) {
			c.Tools = append(c.Tools, echo())
			c.Cluster.Meters, c.Cluster.Tracers = meters{only: measured}, tracers{only: traced}
		})
		b := h.join("b")
		slow := h.owned(b, "slow")
		do(t, a.Host, slow, agentWith(slow))
		gate := h.gate("a line")
		message := say("m2", "a line")
		if _, err := a.Do(t.Context(), events.AgentStream(slow), message, actors.Origin{Traceparent: "00-abcd0000000000000000000000000001-0000000000000001-01"}); err != nil {
			t.Fatal(err)
		}
		<-h.began
		drained := make(chan error, 1)
		go func() { drained <- b.Drain(context.Background()) }()
		h.until("b drains", func() bool { return h.cluster.View().Members[b.node.Self()].State == "draining" })
		<-time.After(time.Second)
		status, err := a.Cluster(t.Context(), "")
		if err != nil || status.Host != a.node.Self() || len(status.Hosts) != 2 || status.Hosts[0].Says == nil || status.Hosts[1].Says == nil {
			t.Fatalf("%+v, %v", status, err)
		}
		moves := status.Hosts[1].Says.Handovers
		if len(moves) != 1 || moves[0].Stream != events.AgentStream(slow) || moves[0].To != a.node.Self() || !strings.Contains(moves[0].Because, "call 1.1 of line in turn "+string(slow)+"/1 has not ended") {
			t.Errorf("%+v", moves)
		}
		if s := status.Hosts[1]; s.State != "draining" || s.Problem != "" || s.Skew == nil {
			t.Errorf("%+v", s)
		}
		other, err := a.Cluster(t.Context(), "wallet-main")
		if err != nil || len(other.Hosts[1].Says.Handovers) != 0 {
			t.Errorf("%+v, %v", other, err)
		}
		close(gate)
		if err := <-drained; err != nil {
			t.Error(err)
		}
		if err := measured.callback(t.Context(), measured); err != nil {
			t.Error(err)
		}
		if measured.observed["life.host.forwarded"] != 2 || measured.observed["life.host.received"] != 1 || len(measured.observed) != 9 {
			t.Errorf("%v", measured.observed)
		}
		if names := traced.names(); !slices.Contains(names, "life.host forward in abcd") || !slices.Contains(names, "life.host ask how it is doing") {
			t.Errorf("%v", names)
		}
		h.invariants(a, slow)
	})
}

// TestRemovalSpan: the removal of a host has a span on each of the others, and one that left by itself has none.
func TestRemovalSpan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHosts(t)
		traced := &spans{}
		h.join("a", func(_ *events.HostJoined, c *actors.Config) { c.Cluster.Tracers = tracers{only: traced} })
		b, c := h.join("b"), h.join("c")
		if err := c.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if names := traced.names(); slices.Contains(names, "life.host take over") {
			t.Errorf("after a drain there are %v", names)
		}
		h.kill(b)
		h.until("there is the span of the removal", func() bool { return slices.Contains(traced.names(), "life.host take over") })
	})
}

// TestStandingUnfit: who holds what its owner cannot, or that nobody can, is said with the reason.
func TestStandingUnfit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHosts(t)
		a := h.join("a", func(_ *events.HostJoined, c *actors.Config) { c.Tools = append(c.Tools, echo()) })
		b := h.join("b")
		id := h.owned(b, "demo")
		h.kill(b)
		do(t, a.Host, id, create(id, "echo"))
		b = h.join("b")
		stream := events.AgentStream(id)
		do(t, b.Host, id, say("m1", "x"))
		h.until("the turn ends", h.ended(id, 1))
		said := func(holder events.HostID, through *member) {
			t.Helper()
			status, err := through.Cluster(t.Context(), stream)
			if err != nil {
				t.Fatal(err)
			}
			for _, host := range status.Hosts {
				if host.ID != b.node.Self() {
					continue
				}
				list := host.Says.Ineligible
				if len(list) != 1 || list[0].Stream != stream || list[0].Holder != holder || !strings.Contains(list[0].Because, "it has no tool echo") {
					t.Errorf("%+v", list)
				}
			}
		}
		said(a.node.Self(), a)
		said(a.node.Self(), b)
		h.kill(a)
		if _, err := b.Do(t.Context(), stream, say("m3", "z"), actors.Origin{}); err == nil {
			t.Error("it is held")
		}
		said("", b)
		alone := h.alone("alone")
		if _, err := alone.Cluster(t.Context(), ""); err == nil || !strings.Contains(err.Error(), "in no cluster") {
			t.Error(err)
		}
		if _, err := b.Cluster(t.Context(), "effect-x"); err == nil {
			t.Error("effects live on a host")
		}
	})
}

// TestStandingSilent: a host that does not answer is named, and nobody is waited for longer than a second.
func TestStandingSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHosts(t)
		a, b := h.join("a"), h.join("b")
		h.cluster.Cut(a.node, b.node, true)
		began := time.Now()
		status, err := a.Cluster(t.Context(), "")
		if err != nil || !strings.Contains(status.Hosts[1].Problem, "did not answer within 1s") || time.Since(began) > 2*time.Second {
			t.Errorf("%+v, %v", status.Hosts[1], err)
		}
		h.cluster.Cut(a.node, b.node, false)
	})
}
