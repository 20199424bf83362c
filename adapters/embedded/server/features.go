package server

import (
	"context"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/serverfeatures"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
)

// version is the EventStoreDB whose behaviour this server has. Clients read three numbers.
const version = "24.10.0"

// The services' names as clients compare them: in lower case.
const (
	streamsName = "event_store.client.streams.streams"
	groupsName  = "event_store.client.persistent_subscriptions.persistentsubscriptions"
)

// featuresService says what this server can do, and nothing that it cannot: clients choose their calls by it.
type featuresService struct {
	serverfeatures.UnimplementedServerFeaturesServer
}

// GetSupportedMethods implements serverfeatures.ServerFeaturesServer.
func (featuresService) GetSupportedMethods(context.Context, *shared.Empty) (*serverfeatures.SupportedMethods, error) {
	supported := &serverfeatures.SupportedMethods{EventStoreServerVersion: version}
	for _, method := range []string{"append", "batchappend", "delete", "read", "tombstone"} {
		supported.Methods = append(supported.Methods, &serverfeatures.SupportedMethod{ServiceName: streamsName, MethodName: method})
	}
	for _, method := range []string{"create", "update", "delete", "read", "getinfo", "list", "replayparked", "restartsubsystem"} {
		supported.Methods = append(supported.Methods, &serverfeatures.SupportedMethod{ServiceName: groupsName, MethodName: method, Features: groupFeatures(method)})
	}
	return supported, nil
}

// groupFeatures says which of a group's methods take a stream and $all. The client for Node asks for both words before it calls one.
func groupFeatures(method string) []string {
	switch method {
	case "create", "update", "delete", "read", "getinfo", "list", "replayparked":
		return []string{"stream", "all"}
	}
	return nil
}
