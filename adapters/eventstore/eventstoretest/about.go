package eventstoretest

import (
	"context"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/gossip"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/serverfeatures"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// featuresService is the service ServerFeatures of one life of a node. It answers without a leader too.
type featuresService struct {
	serverfeatures.UnimplementedServerFeaturesServer
	node *Node
}

// GetSupportedMethods implements serverfeatures.ServerFeaturesServer.
func (s *featuresService) GetSupportedMethods(context.Context, *shared.Empty) (*serverfeatures.SupportedMethods, error) {
	profile := s.node.cluster.config.Profile
	if !profile.Features {
		return nil, status.Error(codes.Unimplemented, "Service is unimplemented.")
	}
	answer := &serverfeatures.SupportedMethods{EventStoreServerVersion: profile.Version}
	for service, methods := range map[string][]string{
		"event_store.client.streams.streams":                                  {"read", "append", "tombstone"},
		"event_store.client.persistent_subscriptions.persistentsubscriptions": {"create", "read", "delete"},
		"event_store.client.server_features.serverfeatures":                   {"getsupportedmethods"},
		"event_store.client.gossip.gossip":                                    {"read"},
	} {
		for _, method := range methods {
			answer.Methods = append(answer.Methods, &serverfeatures.SupportedMethod{
				ServiceName: service, MethodName: method, Features: []string{"stream", "all"},
			})
		}
	}
	return answer, nil
}

// gossipService is the service Gossip of one life of a node.
type gossipService struct {
	gossip.UnimplementedGossipServer
	node *Node
}

// Read implements gossip.GossipServer: what the node thinks of each. A node that went silent counts as alive until the others notice.
func (s *gossipService) Read(context.Context, *shared.Empty) (*gossip.ClusterInfo, error) {
	c := s.node.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	answer := &gossip.ClusterInfo{}
	for _, n := range c.nodes {
		state := gossip.MemberInfo_Unknown
		switch {
		case n == c.leader:
			state = gossip.MemberInfo_Leader
		case c.leader != nil && n.healthy():
			state = gossip.MemberInfo_Follower
		}
		id := uuid.NewSHA1(uuid.Nil, []byte(n.String()))
		answer.Members = append(answer.Members, &gossip.MemberInfo{
			InstanceId: writeID(id, false), TimeStamp: time.Now().UnixNano() / 100, State: state, IsAlive: n.up && (n == c.leader || n.healthy()),
			HttpEndPoint: &gossip.EndPoint{Address: n.public.host, Port: uint32(n.public.port)},
		})
	}
	return answer, nil
}
