package server

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/serverfeatures"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"google.golang.org/grpc"
)

// version is the EventStoreDB whose behaviour this server has. Clients read three numbers.
const version = "24.10.0"

// The services' names as clients compare them: in lower case.
const (
	streamsName = "event_store.client.streams.streams"
	groupsName  = "event_store.client.persistent_subscriptions.persistentsubscriptions"
)

// featuresService says what this server can do: clients choose their calls by it.
type featuresService struct {
	serverfeatures.UnimplementedServerFeaturesServer
	services func() map[string]grpc.ServiceInfo // what is registered
}

// GetSupportedMethods implements serverfeatures.ServerFeaturesServer.
func (f featuresService) GetSupportedMethods(context.Context, *shared.Empty) (*serverfeatures.SupportedMethods, error) {
	supported := &serverfeatures.SupportedMethods{EventStoreServerVersion: version}
	services := f.services()
	for _, service := range slices.Sorted(maps.Keys(services)) {
		for _, method := range services[service].Methods {
			name, of := strings.ToLower(method.Name), strings.ToLower(service)
			supported.Methods = append(supported.Methods, &serverfeatures.SupportedMethod{ServiceName: of, MethodName: name, Features: featuresOf(of, name)})
		}
	}
	return supported, nil
}

// featuresOf is what a method can do besides what every server's can. The client for Node asks for "stream" and "all" before it calls
// a method of groups.
func featuresOf(service, method string) []string {
	switch {
	case service == groupsName:
		return []string{"stream", "all"}
	case service == streamsName && method == "batchappend":
		return []string{"deadline_duration"}
	case service == streamsName && method == "read":
		return []string{"position", "events"}
	}
	return nil
}
