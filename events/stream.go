package events

import "strings"

// Stream names a sequence of events with one writer (see docs/architecture.md, "Streams").
type Stream string

// The categories of streams. A stream's name is "<category>-<id>".
const (
	AgentCategory       = "agent"
	WalletCategory      = "wallet"
	HomeostasisCategory = "homeostasis"
	EffectCategory      = "effect"
	KnowledgeCategory   = "knowledge"
	ProjectionsCategory = "projections"
	ClusterCategory     = "cluster"
)

// AgentStream holds the life of one agent.
func AgentStream(id AgentID) Stream { return Stream(AgentCategory + "-" + string(id)) }

// WalletStream holds the credits, reservations and settlements of one wallet.
func WalletStream(id WalletID) Stream { return Stream(WalletCategory + "-" + string(id)) }

// HomeostasisStream holds a tenant's rule sets.
func HomeostasisStream(id TenantID) Stream { return Stream(HomeostasisCategory + "-" + string(id)) }

// KnowledgeStream holds a tenant's notes.
func KnowledgeStream(id TenantID) Stream { return Stream(KnowledgeCategory + "-" + string(id)) }

// ProjectionsStream holds a tenant's declared projections, and what projections leave out.
func ProjectionsStream(id TenantID) Stream { return Stream(ProjectionsCategory + "-" + string(id)) }

// ClusterStream holds who is a member of a cluster, and what is pinned where in it.
func ClusterStream(name string) Stream { return Stream(ClusterCategory + "-" + name) }

// EffectStream holds the single claim of an effect that must not be repeated.
func EffectStream(id RequestID) Stream { return Stream(EffectCategory + "-" + string(id)) }

// Split takes a stream's name apart at the first dash; a name without one is all category.
func (s Stream) Split() (category, id string) {
	category, id, _ = strings.Cut(string(s), "-")
	return category, id
}

// Agent returns the agent whose stream this is, or false.
func (s Stream) Agent() (AgentID, bool) {
	id, ok := strings.CutPrefix(string(s), AgentCategory+"-")
	return AgentID(id), ok
}
