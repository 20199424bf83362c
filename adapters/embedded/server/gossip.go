package server

import (
	"context"
	"fmt"
	"net"
	"strconv"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/gossip"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/google/uuid"
	"google.golang.org/grpc/metadata"

	"example.com/life/events"
)

// gossipService tells clients that were given a cluster's connection string where its nodes are. There is no cluster: the list is
// what the configuration says, and nobody is asked whether they live.
type gossipService struct {
	gossip.UnimplementedGossipServer
	now       func() events.Micros
	members   []*gossip.MemberInfo // this server first; shared by all answers, and never written to
	anonymous bool                 // the server is alone and listens on all addresses: it is where the caller found it
}

// newGossip checks the members. A server that is given none is alone.
func newGossip(address string, members []string, now func() events.Micros) (gossipService, error) {
	g := gossipService{now: now}
	if len(members) == 0 {
		members = []string{address}
		host, _, err := net.SplitHostPort(address)
		g.anonymous = err == nil && net.ParseIP(host).IsUnspecified()
	}
	for i, member := range members {
		info, err := memberAt(member)
		if err != nil {
			return g, fmt.Errorf("gossip member %q: %w", member, err)
		}
		if i > 0 {
			info.State = gossip.MemberInfo_Follower
		}
		g.members = append(g.members, info)
	}
	return g, nil
}

func memberAt(address string) (*gossip.MemberInfo, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("read its port: %w", err)
	}
	return &gossip.MemberInfo{
		InstanceId:   structured(uuid.NewSHA1(uuid.NameSpaceURL, []byte(address))),
		State:        gossip.MemberInfo_Leader,
		IsAlive:      true,
		HttpEndPoint: &gossip.EndPoint{Address: host, Port: uint32(number)},
	}, nil
}

// Read implements gossip.GossipServer.
func (g gossipService) Read(ctx context.Context, _ *shared.Empty) (*gossip.ClusterInfo, error) {
	const ticks = 10 // of 100 ns in a microsecond
	answer := &gossip.ClusterInfo{}
	for _, member := range g.members {
		at := member.GetHttpEndPoint()
		if called := metadata.ValueFromIncomingContext(ctx, ":authority"); g.anonymous && len(called) == 1 {
			if found, err := memberAt(called[0]); err == nil {
				at = found.GetHttpEndPoint()
			}
		}
		answer.Members = append(answer.Members, &gossip.MemberInfo{
			InstanceId: member.GetInstanceId(), TimeStamp: int64(g.now()) * ticks, State: member.GetState(), IsAlive: true, HttpEndPoint: at,
		})
	}
	return answer, nil
}
