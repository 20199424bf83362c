package stores

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"example.com/life/actors"
	"example.com/life/actors/membership"
	"example.com/life/adapters/peers"
	"example.com/life/events"
	"example.com/life/sagas/cluster"
)

// Cluster is the cluster that a host joins, and how.
type Cluster struct {
	Name         string
	Listen       string // HOST:PORT of the peer port; port 0: any
	Certificates string // the directory of the host's certificate
	Joined       events.HostJoined
	Older        bool // join although a member reads newer events
	Handover     time.Duration
	MaxLive      int
	Workspaces   []string
}

// Says is what a host of a build says of itself when it joins, but for where it listens and what its tools are.
func (c *Cluster) Says(build string) events.HostJoined {
	says := c.Joined
	says.Build, says.Catalogue = build, cluster.Catalogue()
	says.Protocol = events.ProtocolRange{Oldest: peers.Protocol, Newest: peers.Protocol}
	return says
}

// peer is a host's place among the others: its membership and its port.
type peer struct {
	member *membership.Member
	port   *peers.Server
	client *peers.Client
	host   atomic.Pointer[actors.Host]
	ready  chan struct{} // closed when there is a host
}

// join makes the host that c describes a member of a cluster. It answers other hosts from then on; their calls wait until it has started.
func (l *Local) join(ctx context.Context, c *actors.Config) (err error) {
	joining := l.place.Cluster
	if joining == nil {
		return nil
	}
	if l.place.Embedded() {
		return errors.New("the hosts of a cluster share a store, and an embedded one belongs to one process: start life store serve and give every host --store esdb://HOST:PORT")
	}
	identity, err := peers.LoadIdentity(joining.Certificates, joining.Joined.Name, time.Now(), c.Log)
	if err != nil {
		return err
	}
	p := &peer{ready: make(chan struct{})}
	if p.port, err = peers.Listen(ctx, joining.Listen, identity, c.Log); err != nil {
		return err
	}
	l.peer = p
	var self atomic.Value // of events.HostID
	self.Store(events.HostID(""))
	var member atomic.Pointer[membership.Member]
	p.client = peers.NewClient(peers.ClientConfig{
		Identity: identity,
		Self:     func() events.HostID { return self.Load().(events.HostID) }, //nolint:errcheck,forcetypeassert // nothing else is in it
		Ended: func(host string) {
			if m := member.Load(); m != nil {
				m.Disconnected(host)
			}
		},
	})
	says := joining.Says(c.Build)
	says.Peer = p.port.Addr().String()
	for _, tool := range c.Tools {
		says.Tools = append(says.Tools, tool.Spec().Name)
	}
	p.member, err = membership.Join(ctx, membership.Config{
		Cluster: joining.Name, Joined: says, Older: joining.Older, Journal: l.Journal, Blobs: l.Blobs, Contacts: p.client,
		Clock: membership.SystemClock{}, Work: p.work, Log: c.Log,
	})
	if err != nil {
		return fmt.Errorf("join cluster %s as %s: %w", joining.Name, says.Name, err)
	}
	self.Store(p.member.Self())
	member.Store(p.member)
	p.port.Serve(peers.Handlers{Ping: p.member.HandlePing, Confirm: p.member.HandleConfirm, Probe: p.member.HandleProbe, Call: p.call, Deltas: p.deltas})
	c.Name = string(p.member.Self())
	c.Cluster = &actors.Cluster{Member: p.member, Peers: p.client, Handover: joining.Handover, MaxLive: joining.MaxLive, Workspaces: joining.Workspaces}
	return nil
}

// work is what the host says of itself, if it can work: nothing, while it starts.
func (p *peer) work(ctx context.Context) (membership.Work, error) {
	host := p.host.Load()
	if host == nil {
		return membership.Work{Settled: events.NoRevision}, nil
	}
	if err := host.Pulse(ctx); err != nil {
		return membership.Work{}, err
	}
	return membership.Work{Settled: host.Settled(), Entities: host.Live()}, nil
}

// started has the calls of other hosts answered.
func (p *peer) started(host *actors.Host) {
	if p != nil {
		p.host.Store(host)
		close(p.ready)
	}
}

func (p *peer) call(ctx context.Context, from events.HostID, call actors.PeerCall) actors.PeerAnswer {
	select {
	case <-p.ready:
		return p.host.Load().ServePeer(ctx, from, call)
	case <-ctx.Done():
		return actors.PeerAnswer{Epoch: p.member.View().Epoch}
	}
}

func (p *peer) deltas(ctx context.Context, agent events.AgentID, show func(actors.FeedDelta) error) error {
	select {
	case <-p.ready:
		return p.host.Load().ServeDeltas(ctx, agent, show)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *peer) close() {
	if p == nil {
		return
	}
	if p.member != nil {
		p.member.Close()
	}
	p.port.Close()
	p.client.Close()
}

// Member is the host's membership of its cluster; nil: it is the only host.
func (l *Local) Member() *membership.Member {
	if l.peer == nil {
		return nil
	}
	return l.peer.member
}
