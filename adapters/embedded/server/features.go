package server

import (
	"context"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/serverfeatures"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
)

// version is the EventStoreDB whose behaviour this server has. Clients read three numbers.
const version = "24.10.0"

// The services' names as clients compare them: in lower case.
const streamsName = "event_store.client.streams.streams"

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
	return supported, nil
}
