package bus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/components/cqrs"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"go.opentelemetry.io/otel/trace"

	"example.com/life/actors"
	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/sagas"
	"example.com/life/sagas/cluster"
	"example.com/life/sagas/strictjson"
)

// Commands carries commands out. *actors.Host documents the method and its errors.
type Commands interface {
	Do(ctx context.Context, stream events.Stream, command sagas.Command, origin actors.Origin) (actors.Receipt, error)
}

// Membership is a host as a member of a cluster: *membership.Member.
type Membership interface {
	Self() events.HostID
	// View is the newest that is known.
	View() *cluster.View
	// Changed is closed when there is a newer view than at the time of the call.
	Changed() <-chan struct{}
}

// IngressConfig says whose commands are carried out by whom. Commands, Journal, Groups and Tenant are required.
type IngressConfig struct {
	Commands Commands
	Journal  storage.Journal
	Groups   Groups // in which all ingresses of a tenant share its commands
	Tenant   events.TenantID
	Member   Membership // of the cluster of which one host, the owner of the topic, takes the commands; nil: whoever has the group does
	Retry    Retry
	Side     int                  // entities whose commands are carried out at once, at most; default 64
	Within   time.Duration        // one attempt; default 30 s, more than the host's own deadlines
	Traces   trace.TracerProvider // nil: the global one
	Log      *slog.Logger         // nil: nothing is logged
}

// Retry says how often a command is tried that nobody has refused: the first time again after First, then after twice as long, at
// most Most. After Times it is poisoned, or, while the store or the host is away, delivered again.
type Retry struct {
	Times int           // default 8
	First time.Duration // default 100 ms
	Most  time.Duration // default 10 s
}

// ingressGroup is the consumer group of all ingresses.
const ingressGroup = "life-commands"

// What an ingress holds of commands that are not done with: so many, for each entity that it works on; so many bytes; and how long those that are
// under way may take when it ends.
const (
	aheadOfSide = 16
	mostHeld    = 64 << 20
	leaveTime   = 10 * time.Second
)

// Ingress carries out the commands of one tenant's topic: those to one entity one after another, in order, those to others side by side.
type Ingress struct {
	config    IngressConfig
	publisher *Publisher
	weight    int // bytes of commands that it holds at most, unless it is one alone
}

// NewIngress returns an ingress, which begins when it is run.
func NewIngress(c IngressConfig) (*Ingress, error) {
	if c.Commands == nil || c.Journal == nil || c.Groups == nil {
		return nil, errors.New("configure ingress: commands, a journal and groups are required")
	}
	if err := c.Tenant.Validate(); err != nil {
		return nil, fmt.Errorf("configure ingress: %w", err)
	}
	c.Retry = Retry{cmp.Or(c.Retry.Times, 8), cmp.Or(c.Retry.First, 100*time.Millisecond), cmp.Or(c.Retry.Most, 10*time.Second)}
	c.Side, c.Within = cmp.Or(max(c.Side, 0), 64), cmp.Or(c.Within, 30*time.Second)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	publisher, err := NewPublisher(PublisherConfig{Journal: c.Journal})
	if err != nil {
		return nil, err
	}
	in := &Ingress{config: c, publisher: publisher, weight: mostHeld}
	_, err = in.assemble()
	return in, err
}

// assemble builds the router, which has what is delivered handled at once. What is first in the chain is outermost: a command is retried in place,
// so that those to its entity wait, and poisoned when that was of no use.
func (in *Ingress) assemble() (*message.Router, error) {
	log := watermill.NewSlogLogger(in.config.Log)
	router, err := message.NewRouter(message.RouterConfig{CloseTimeout: time.Minute}, log)
	if err != nil {
		return nil, fmt.Errorf("configure ingress: %w", err)
	}
	poison, err := middleware.PoisonQueueWithFilter(poisonTo{in}, PoisonTopic(in.config.Tenant), hopeless)
	if err != nil {
		return nil, fmt.Errorf("configure ingress: %w", err)
	}
	retry := middleware.Retry{
		MaxRetries: in.config.Retry.Times, InitialInterval: in.config.Retry.First, MaxInterval: in.config.Retry.Most, Multiplier: 2,
		ShouldRetry:         func(p middleware.RetryParams) bool { return retryable(p.Err) },
		OnRetryHook:         in.again,
		ResetContextOnRetry: true,
	}
	router.AddMiddleware(correlated, traced(in.config.Traces), poison, retry.Middleware, middleware.Recoverer, known)
	subscriber := SubscriberConfig{
		Groups: in.config.Groups, Name: ingressGroup, First: in.config.Retry.First, Most: in.config.Retry.Most, Log: in.config.Log, lanes: in.lanes(),
	}
	processor, err := cqrs.NewEventGroupProcessorWithConfig(router, cqrs.EventGroupProcessorConfig{
		GenerateSubscribeTopic: func(cqrs.EventGroupProcessorGenerateSubscribeTopicParams) (string, error) {
			return CommandTopic(in.config.Tenant), nil
		},
		SubscriberConstructor: func(cqrs.EventGroupProcessorSubscriberConstructorParams) (message.Subscriber, error) {
			return NewSubscriber(subscriber)
		},
		Marshaler: commandJSON{},
		Logger:    log,
	})
	if err != nil {
		return nil, fmt.Errorf("configure ingress: %w", err)
	}
	var handlers []cqrs.GroupEventHandler
	for _, kind := range Types() {
		handlers = append(handlers, handler{kind, in})
	}
	return router, processor.AddHandlersGroup(ingressGroup, handlers...)
}

// lanes has each entity's commands in a lane. Those that have a reply are done with.
func (in *Ingress) lanes() *laneConfig {
	ahead := aheadOfSide * in.config.Side
	replies := newAnswered(in.config.Journal, in.config.Tenant, ahead)
	return &laneConfig{
		of: laneOf, side: in.config.Side, ahead: ahead, weight: in.weight, leave: leaveTime,
		settled: func(ctx context.Context, e *events.Envelope, oldest events.Revision) (bool, error) {
			if oldest == events.NoRevision {
				return replies.hasNow(ctx, e.Revision)
			}
			return replies.has(ctx, e.Revision, oldest)
		},
	}
}

// laneOf is the entity that a command is for; empty: it cannot be read, and nothing behind it is begun before it is poisoned.
func laneOf(e *events.Envelope) string {
	command, err := Decode(string(e.Kind), payloadOf(e))
	if err != nil {
		return ""
	}
	return string(command.Stream)
}

// Run carries out commands until ctx ends; in a cluster, while this host is the owner of the topic. Those that are under way when that ends are
// finished, for a while; what is not done with is delivered again, to whoever has the group next, under the same id, so that it happens once.
func (in *Ingress) Run(ctx context.Context) error {
	if in.config.Member == nil {
		return in.run(ctx)
	}
	for {
		changed := in.config.Member.Changed()
		if in.owns() {
			if moved, err := in.runAsOwner(ctx, changed); !moved {
				return err
			}
			continue
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// owns reports whether this host takes the tenant's commands, by the newest view.
func (in *Ingress) owns() bool {
	owner, ok := in.config.Member.View().Owner(events.Stream(CommandTopic(in.config.Tenant)))
	return ok && owner == in.config.Member.Self()
}

// runAsOwner carries out commands until another host is the owner, and this one has left the group; false when it ended for another reason.
func (in *Ingress) runAsOwner(ctx context.Context, changed <-chan struct{}) (moved bool, err error) {
	in.config.Log.Info("this host takes the commands on the bus", "tenant", in.config.Tenant)
	running, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- in.run(running) }()
	for {
		select {
		case err := <-ended:
			return false, err
		case <-changed:
			changed = in.config.Member.Changed()
		}
		if in.owns() {
			continue
		}
		stop()
		if err := <-ended; ctx.Err() != nil || !errors.Is(err, context.Canceled) {
			return false, err
		}
		in.config.Log.Info("another host takes the commands on the bus", "tenant", in.config.Tenant)
		return true, nil
	}
}

func (in *Ingress) run(ctx context.Context) error {
	router, err := in.assemble()
	if err != nil {
		return err
	}
	if err := router.Run(ctx); err != nil {
		return fmt.Errorf("carry out commands of %s: %w", in.config.Tenant, err)
	}
	return ctx.Err()
}

func (in *Ingress) again(attempt int, wait time.Duration) {
	in.config.Log.Info("a command is tried again", "tenant", in.config.Tenant, "attempt", attempt, "after", wait)
}

// handler has the commands of one type carried out.
type handler struct {
	kind string
	in   *Ingress
}

// NewEvent implements cqrs.GroupEventHandler.
func (h handler) NewEvent() any { return &received{kind: h.kind} }

// Handle implements cqrs.GroupEventHandler.
func (h handler) Handle(ctx context.Context, event any) error {
	command, ok := event.(*received)
	if !ok {
		return malformed("%T is no command", event)
	}
	return h.in.carryOut(ctx, cqrs.OriginalMessageFromCtx(ctx), command.Command)
}

// carryOut has a command decided, and publishes the outcome. It returns when the decision is stored: only then is the message acked.
// If the process dies in between, the command comes again, and its entity knows its id; if it dies after the reply, the reply tells.
func (in *Ingress) carryOut(ctx context.Context, m *message.Message, command Command) error {
	id := commandOf(m)
	if err := id.Validate(); err != nil {
		return malformed("%v", err)
	}
	origin, err := originOf(ctx, m)
	if err != nil {
		return err
	}
	going, end := finishing(ctx)
	defer end()
	doing, cancel := context.WithTimeout(going, in.config.Within)
	defer cancel()
	receipt, err := in.config.Commands.Do(doing, command.Stream, sagas.Identified(command.Command, sagas.Meta{ID: id, At: storage.Now()}), origin)
	topic := ReplyTopic(in.config.Tenant)
	var refusal *sagas.RefusalError
	switch {
	case errors.As(err, &refusal):
		return reply(going, in.publisher, topic, refusedKind, m, refusalOf(m, refusal))
	case err != nil:
		return err
	}
	return reply(going, in.publisher, topic, acceptedKind, m, Reply{Command: id, Type: m.Metadata.Get(TypeKey), Receipt: &receipt})
}

// finishing is a context that goes on for a while when ctx has ended, so that what has begun is finished.
func finishing(ctx context.Context) (context.Context, context.CancelFunc) {
	going, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(leaveTime, cancel) })
	return going, func() {
		stop()
		cancel()
	}
}

// originOf says where a command comes from, for the record; "bus" unless its sender says who it is.
func originOf(ctx context.Context, m *message.Message) (actors.Origin, error) {
	actor := cmp.Or(m.Metadata.Get(ActorKey), "bus")
	unprintable := func(r rune) bool { return r <= ' ' || r > '~' }
	if len(actor) > 64 || strings.ContainsFunc(actor, unprintable) {
		return actors.Origin{}, malformed("the actor is not 1 to 64 printable ASCII characters")
	}
	return actors.Origin{Actor: actor, Traceparent: traceOf(ctx)}, nil
}

// correlated gives a command that has no correlation its own id as one, so that its replies can be found by it.
func correlated(handle message.HandlerFunc) message.HandlerFunc {
	return func(m *message.Message) ([]*message.Message, error) {
		middleware.SetCorrelationID(string(commandOf(m)), m)
		return handle(m)
	}
}

// known refuses commands that do not exist.
func known(handle message.HandlerFunc) message.HandlerFunc {
	types := Types()
	return func(m *message.Message) ([]*message.Message, error) {
		if kind := m.Metadata.Get(TypeKey); !slices.Contains(types, kind) {
			_, err := Decode(kind, nil)
			return nil, err
		}
		return handle(m)
	}
}

// retryable reports whether trying a command again can change anything.
func retryable(err error) bool {
	var malformed *strictjson.Malformed
	return !errors.As(err, &malformed)
}

// hopeless reports whether a command that failed is poisoned. It is not while the host closes or the store takes nothing: no other
// command would fare better, and each is delivered again until one does.
func hopeless(err error) bool {
	return !errors.Is(err, context.Canceled) && !errors.Is(err, storage.ErrClosed) && !errors.Is(err, storage.ErrFull)
}

// poisonTo publishes poisoned commands, and tells their senders.
type poisonTo struct{ in *Ingress }

// Publish implements message.Publisher. Where the command stood is kept; a message that is delivered again is poisoned once.
func (p poisonTo) Publish(topic string, messages ...*message.Message) error {
	for _, m := range messages {
		reason := m.Metadata.Get(middleware.ReasonForPoisonedKey)
		m.Metadata.Set(PoisonedEventKey, refOf(m))
		if err := p.in.publisher.Publish(topic, m); err != nil {
			return err
		}
		p.in.config.Log.Warn("a command is poisoned", "event", refOf(m), "type", m.Metadata.Get(TypeKey), "reason", reason)
		told := Reply{Command: commandOf(m), Type: m.Metadata.Get(TypeKey), Detail: reason}
		if err := reply(m.Context(), p.in.publisher, ReplyTopic(p.in.config.Tenant), poisonedKind, m, told); err != nil {
			return err
		}
	}
	return nil
}

// Close implements message.Publisher.
func (poisonTo) Close() error { return nil }
