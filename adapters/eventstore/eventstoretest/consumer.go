package eventstoretest

import (
	"slices"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/persistent"
	"google.golang.org/grpc/codes"
)

// Read implements persistent.PersistentSubscriptionsServer: a consumer joins, is given messages, and says what became of them.
func (s *groupsService) Read(call persistent.PersistentSubscriptions_ReadServer) error {
	ctx := call.Context()
	request, err := call.Recv()
	if err != nil {
		return err
	}
	options := request.GetOptions()
	if options == nil || options.GetUuidOption().GetContent() == nil || options.GetBufferSize() <= 0 {
		return failing(ctx, codes.Unknown, thrown)
	}
	stream := string(options.GetStreamIdentifier().GetStreamName())
	c := s.node.cluster
	if err := s.node.started(ctx); err != nil {
		return err
	}
	g := c.groups[groupKey(stream, options.GetGroupName())]
	m := &member{size: int(options.GetBufferSize()), news: make(chan struct{}, 1), gone: make(chan struct{})}
	switch {
	case g == nil:
		err = groupFailing(ctx, codes.NotFound, "persistent-subscription-does-not-exist", stream, options.GetGroupName())
	case g.settings.GetMaxSubscriberCount() > 0 && len(g.running.members) >= int(g.settings.GetMaxSubscriberCount()):
		err = groupFailing(ctx, codes.FailedPrecondition, "maximum-subscribers-reached", stream, options.GetGroupName())
	default:
		c.counts.Joined++
		g.running.members = append(g.running.members, m)
		g.push(c)
	}
	c.mu.Unlock()
	if err != nil {
		return err
	}
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		g.leave(c, m)
	}()
	_, text := options.GetUuidOption().GetContent().(*persistent.ReadReq_Options_UUIDOption_String_)
	return s.serve(call, g, m, text)
}

// serve delivers until the consumer leaves or the group drops it.
func (s *groupsService) serve(call persistent.PersistentSubscriptions_ReadServer, g *group, m *member, text bool) error {
	ctx, c := call.Context(), s.node.cluster
	if err := call.Send(&persistent.ReadResp{Content: &persistent.ReadResp_SubscriptionConfirmation_{
		SubscriptionConfirmation: &persistent.ReadResp_SubscriptionConfirmation{SubscriptionId: g.key},
	}}); err != nil {
		return err
	}
	heard := make(chan struct{})
	go func() { // ends with the call
		defer close(heard)
		for {
			request, err := call.Recv()
			if err != nil {
				return
			}
			c.mu.Lock()
			g.hear(c, m, request)
			c.mu.Unlock()
		}
	}()
	for {
		c.mu.Lock()
		queue := m.queue
		m.queue = nil
		c.mu.Unlock()
		for _, next := range queue {
			if err := call.Send(next.r.delivered(text, next.retries)); err != nil {
				return err
			}
		}
		select {
		case <-m.news:
		case <-m.gone:
			return groupFailing(ctx, codes.Canceled, "persistent-subscription-dropped", g.stream, g.name)
		case <-ctx.Done():
			<-heard
			return ctx.Err()
		}
	}
}

// hear takes what a member says of its messages.
func (g *group) hear(c *Cluster, m *member, request *persistent.ReadReq) {
	if g.running == nil || !slices.Contains(g.running.members, m) {
		return
	}
	for _, id := range request.GetAck().GetIds() {
		g.settle(m, readID(id))
	}
	nack := request.GetNack()
	for _, sent := range nack.GetIds() {
		id := readID(sent)
		switch nack.GetAction() {
		case persistent.ReadReq_Nack_Park:
			g.running.parked++
			g.settle(m, id)
		case persistent.ReadReq_Nack_Skip, persistent.ReadReq_Nack_Stop:
			g.settle(m, id)
		default:
			g.retry(func(other *message) bool { return other.to == m && other.r.id == id })
		}
	}
	if most := int(g.settings.GetMaxCheckpointCount()); most > 0 && g.running.settled >= most {
		g.keep(c)
	}
	g.push(c)
}
