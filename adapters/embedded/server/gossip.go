package server

import (
	"context"
	"fmt"
	"net"
	"strconv"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/gossip"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/google/uuid"
)

// gossipService tells clients of a cluster where its nodes are.
type gossipService struct {
	gossip.UnimplementedGossipServer
	members []*gossip.MemberInfo
}

// newGossip checks the members. A server without any is alone.
func newGossip(address string, members []string) (gossipService, error) {
	if len(members) == 0 {
		members = []string{address}
	}
	g := gossipService{}
	for _, member := range members {
		host, port, err := net.SplitHostPort(member)
		if err != nil {
			return g, fmt.Errorf("gossip member %q: %w", member, err)
		}
		number, err := strconv.ParseUint(port, 10, 16)
		if err != nil {
			return g, fmt.Errorf("gossip member %q: port: %w", member, err)
		}
		g.members = append(g.members, &gossip.MemberInfo{
			InstanceId:   structured(uuid.NewSHA1(uuid.NameSpaceURL, []byte(member))),
			State:        gossip.MemberInfo_Leader,
			IsAlive:      true,
			HttpEndPoint: &gossip.EndPoint{Address: host, Port: uint32(number)},
		})
	}
	return g, nil
}

// Read implements gossip.GossipServer.
func (g gossipService) Read(context.Context, *shared.Empty) (*gossip.ClusterInfo, error) {
	return &gossip.ClusterInfo{Members: g.members}, nil
}
