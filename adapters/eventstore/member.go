package eventstore

import (
	"cmp"
	"context"
	"sync"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/persistent"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"example.com/life/events"
)

// membership is a joined group on the wire. One goroutine receives, so that the end is noticed while an event is handled.
type membership struct {
	call      persistent.PersistentSubscriptions_ReadClient
	id        []byte        // of the membership, as the server knows it
	delivered chan delivery // closed when the call has ended
	ended     *failure      // why; to be read after delivered is closed

	under sync.WaitGroup         // deliveries that are not done with
	mu    sync.Mutex             // of ids, and of what is sent
	ids   map[events.EventID]int // of deliveries under way
}

// delivery is an event and the id under which the server wants to hear its outcome.
type delivery struct {
	id *shared.UUID
	e  events.Envelope
}

// join consumes until ctx or the membership ends. The call outlives the caller's context, which ends ctx too, so that the last outcome
// can be told.
func (m *member) join(ctx, callers context.Context, n *node) *failure {
	line, err := n.feed()
	if err != nil {
		return failed(err, nil)
	}
	defer n.releaseFeed(line)
	open, cancel := context.WithCancelCause(ofLeader(context.WithoutCancel(ctx)))
	defer cancel(nil)
	detach := context.AfterFunc(ctx, func() { cancel(nil) })
	s, f := m.begin(open, cancel, line.ClientConn, m.patience.limit())
	if !detach() || f != nil {
		return cmp.Or(f, failed(ctx.Err(), nil))
	}
	m.joined = true
	defer context.AfterFunc(n.alive, func() { cancel(nil) })() // a connection that is given up may still be there
	held, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	go s.receive(open, end)
	m.consume(ctx, held, s)
	if callers.Err() == nil {
		end() // what is under way cannot be told any more
	}
	s.under.Wait()
	if callers.Err() != nil {
		s.leave(func() { cancel(nil) })
	}
	cancel(nil)
	for range s.delivered { // until it is closed
	}
	return s.ended
}

// begin sends who joins what, and waits for the confirmation.
func (m *member) begin(ctx context.Context, end context.CancelCauseFunc, conn *grpc.ClientConn, limit time.Duration) (*membership, *failure) {
	watch := watched(limit, end)
	defer watch.stop()
	call, err := persistent.NewPersistentSubscriptionsClient(conn).Read(ctx)
	if err != nil {
		return nil, failed(err, nil).silentFor(ctx, limit)
	}
	options := &persistent.ReadReq_Options{
		GroupName: m.group, BufferSize: m.ahead,
		UuidOption:   &persistent.ReadReq_Options_UUIDOption{Content: &persistent.ReadReq_Options_UUIDOption_Structured{Structured: &shared.Empty{}}},
		StreamOption: &persistent.ReadReq_Options_All{All: &shared.Empty{}},
	}
	if m.source.Stream != "" {
		options.StreamOption = &persistent.ReadReq_Options_StreamIdentifier{StreamIdentifier: identifier(m.source.Stream)}
	}
	call.Send(&persistent.ReadReq{Content: &persistent.ReadReq_Options_{Options: options}}) //nolint:errcheck // Recv says why it could not be sent
	answer, err := call.Recv()
	if err != nil {
		return nil, callFailure(call, err).silentFor(ctx, limit)
	}
	s := &membership{call: call, delivered: make(chan delivery), ids: map[events.EventID]int{}}
	if confirmed := answer.GetSubscriptionConfirmation(); confirmed != nil {
		s.id = []byte(confirmed.GetSubscriptionId())
		return s, nil
	}
	return nil, &failure{code: codes.Internal, message: "the event store did not confirm the membership"}
}

func callFailure(call persistent.PersistentSubscriptions_ReadClient, err error) *failure {
	if ended(err) {
		return &failure{code: codes.Unavailable, message: "the event store ended the membership"}
	}
	return failed(err, call.Trailer())
}

// receive passes deliveries on until the call ends.
func (s *membership) receive(open context.Context, end context.CancelFunc) {
	defer close(s.delivered)
	defer end()
	for {
		answer, err := s.call.Recv()
		if err != nil {
			s.ended = callFailure(s.call, err)
			return
		}
		event := answer.GetEvent()
		recorded := event.GetEvent()
		if event.GetLink() != nil {
			recorded = event.GetLink() // links are not followed; were one, it is the link that is done with
		}
		if recorded == nil {
			continue
		}
		select {
		case s.delivered <- delivery{id: recorded.GetId(), e: recordedOf(recorded).envelope()}:
		case <-open.Done():
		}
	}
}

// consume hands out deliveries until ctx ends, which is the caller's, or held, which is the membership's.
func (m *member) consume(ctx, held context.Context, s *membership) {
	for ctx.Err() == nil && held.Err() == nil {
		select {
		case <-ctx.Done():
		case d, there := <-s.delivered:
			if !there {
				return
			}
			done := s.begin(ctx, d)
			if !m.wants(&d.e) {
				done(nil)
				continue
			}
			m.handle(held, d.e, done)
		}
	}
}

// begin notes that a delivery is under way. The server settles all deliveries of one id at once, so they are told together, when all are done with.
func (s *membership) begin(ctx context.Context, d delivery) (done func(error)) {
	key := d.e.ID
	s.under.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ids[key]++
	return func(err error) {
		defer s.under.Done()
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.ids[key]--; s.ids[key] > 0 && err == nil {
			return
		}
		delete(s.ids, key)
		if err == nil || ctx.Err() == nil { // else leaving gives it back
			s.tell(d.id, err)
		}
	}
}

// tell says what became of a delivery. If it cannot be said, the call has ended and the event comes again. One at a time may.
func (s *membership) tell(id *shared.UUID, outcome error) {
	request := &persistent.ReadReq{Content: &persistent.ReadReq_Ack_{Ack: &persistent.ReadReq_Ack{Id: s.id, Ids: []*shared.UUID{id}}}}
	if outcome != nil {
		request.Content = &persistent.ReadReq_Nack_{Nack: &persistent.ReadReq_Nack{
			Id: s.id, Ids: []*shared.UUID{id}, Action: persistent.ReadReq_Nack_Retry, Reason: outcome.Error(),
		}}
	}
	s.call.Send(request) //nolint:errcheck // the call has ended then
}

// leave says goodbye and waits until the server has taken the last outcome, for a while.
func (s *membership) leave(cancel context.CancelFunc) {
	timer := time.AfterFunc(groupGoodbye, cancel)
	defer timer.Stop()
	s.call.CloseSend()      //nolint:errcheck // the call has ended then
	for range s.delivered { // what comes now comes again
	}
}
