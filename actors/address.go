package actors

import (
	"fmt"

	"github.com/asynkron/protoactor-go/actor"

	"example.com/life/events"
	"example.com/life/sagas"
)

// address finds the registry that keeps a stream's entity.
func (h *Host) address(stream events.Stream) (*actor.PID, string, error) {
	category, id := stream.Split()
	var err error
	var registry *actor.PID
	switch category {
	case events.AgentCategory:
		registry, err = h.agents, events.AgentID(id).Validate()
	case events.WalletCategory:
		registry, err = h.wallets, events.WalletID(id).Validate()
	case events.HomeostasisCategory:
		registry, err = h.homeostasis, events.TenantID(id).Validate()
	case events.KnowledgeCategory:
		registry, err = h.knowledge, events.TenantID(id).Validate()
	case events.ProjectionsCategory:
		registry = h.catalogues
		if events.TenantID(id) != sagas.DefaultTenant {
			err = fmt.Errorf("a host keeps the projections of tenant %s only", sagas.DefaultTenant)
		}
	default:
		err = fmt.Errorf("stream %q takes no commands", string(stream))
	}
	if err != nil {
		return nil, "", &sagas.RefusalError{Code: sagas.RefusedInvalid, Detail: err.Error()}
	}
	return registry, id, nil
}
