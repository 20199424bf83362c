package projections

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/tidwall/btree"

	"example.com/life/events"
)

// AgentStatus says what an agent is doing, the most pressing first.
type AgentStatus string

// What an agent can be doing.
const (
	StatusRetired     AgentStatus = "retired"
	StatusBroken      AgentStatus = "broken" // its history cannot be read
	StatusQuarantined AgentStatus = "quarantined"
	StatusWaiting     AgentStatus = "waiting" // for a person's approval
	StatusPaused      AgentStatus = "paused"  // until a person resumes it
	StatusWorking     AgentStatus = "working"
	StatusIdle        AgentStatus = "idle"
)

// AgentStatuses lists them all.
func AgentStatuses() []string {
	return []string{
		string(StatusRetired), string(StatusBroken), string(StatusQuarantined), string(StatusWaiting), string(StatusPaused), string(StatusWorking), string(StatusIdle),
	}
}

// Status says what the agent is doing.
func (a *AgentSummary) Status() AgentStatus {
	switch {
	case a.Retired:
		return StatusRetired
	case a.Problem != "":
		return StatusBroken
	case a.Quarantined != "":
		return StatusQuarantined
	case len(a.Approvals) > 0:
		return StatusWaiting
	case a.Paused != "":
		return StatusPaused
	case a.Turn != "":
		return StatusWorking
	}
	return StatusIdle
}

// AgentFilter chooses agents: those that match every field that is set.
type AgentFilter struct {
	Agent  events.AgentID
	Status AgentStatus
	Active bool // not retired
	Model  string
	Parent events.AgentID
	After  events.AgentID // only names after this one
	Limit  int            // at most this many; 0: no limit
}

// Query is the filter as a query of the roster.
func (f AgentFilter) Query() Query {
	parameters := map[string]string{
		"agent": string(f.Agent), "status": string(f.Status), "model": f.Model, "parent": string(f.Parent), "after": string(f.After),
	}
	if f.Active {
		parameters["retired"] = "no"
	}
	if f.Limit != 0 {
		parameters["limit"] = strconv.Itoa(f.Limit)
	}
	for name, value := range parameters {
		if value == "" {
			delete(parameters, name)
		}
	}
	return Query{Parameters: parameters}
}

// rosterParameters are those of the query "agents".
func rosterParameters() []Parameter {
	anAgent := func(text string) error { return events.AgentID(text).Validate() }
	return []Parameter{
		ofAgent(),
		{Name: "status", Description: "only agents that are " + strings.Join(AgentStatuses(), ", "), Check: func(text string) error {
			if !slices.Contains(AgentStatuses(), text) {
				return fmt.Errorf("want one of %s", strings.Join(AgentStatuses(), ", "))
			}
			return nil
		}},
		{Name: "retired", Description: "no: only agents that are not retired", Check: func(text string) error {
			if text != "no" {
				return errors.New("it can only be no; status=retired lists those that are")
			}
			return nil
		}},
		ofName("model", "only agents of this model"),
		{Name: "parent", Description: "only forks of this agent", Check: anAgent},
		{Name: "after", Description: "only agents whose names come after this one", Check: anAgent},
		{Name: "limit", Description: "at most this many agents; all if not given", Check: func(text string) error {
			if n, err := strconv.Atoi(text); err != nil || n < 1 {
				return errors.New("want a number from 1")
			}
			return nil
		}},
	}
}

// rosterIndex finds agents by name, and by what they can be filtered by, so that a query costs what it returns.
type rosterIndex struct {
	all *agentSet
	by  map[rosterKey]*agentSet
}

// agentSet holds agents by name.
type agentSet = btree.BTreeG[*AgentSummary]

// rosterKey names a set of agents: those with a value in a field.
type rosterKey struct{ field, value string }

// rosterKeys are the sets that an agent is in; those without a value are none.
type rosterKeys [4]rosterKey

func keysOf(agent *AgentSummary) rosterKeys {
	retired := "no"
	if agent.Retired {
		retired = ""
	}
	return rosterKeys{{"status", string(agent.Status())}, {"retired", retired}, {"model", agent.Model}, {"parent", string(agent.Parent)}}
}

func newAgentSet() *agentSet {
	return btree.NewBTreeGOptions(func(a, b *AgentSummary) bool { return a.ID < b.ID }, btree.Options{NoLocks: true})
}

func newRosterIndex(agents map[events.AgentID]*AgentSummary) *rosterIndex {
	index := &rosterIndex{newAgentSet(), map[rosterKey]*agentSet{}}
	for _, id := range slices.Sorted(maps.Keys(agents)) { // in order it is several times faster
		index.add(agents[id])
	}
	return index
}

func (x *rosterIndex) add(agent *AgentSummary) {
	x.all.Load(agent)
	x.move(agent, rosterKeys{})
}

// move takes an agent out of the sets that it was in and puts it into those that it belongs to.
func (x *rosterIndex) move(agent *AgentSummary, was rosterKeys) {
	is := keysOf(agent)
	if is == was {
		return
	}
	for i := range is {
		if is[i] == was[i] {
			continue
		}
		if left := x.by[was[i]]; left != nil {
			if left.Delete(agent); left.Len() == 0 {
				delete(x.by, was[i])
			}
		}
		if is[i].value == "" {
			continue
		}
		if x.by[is[i]] == nil {
			x.by[is[i]] = newAgentSet()
		}
		x.by[is[i]].Load(agent)
	}
}

// find returns the agents that a checked query asks for, by name. It goes through the smallest set that the query names.
func (x *rosterIndex) find(q Query) []AgentSummary {
	found, within := []AgentSummary{}, x.all
	for field, value := range q.Parameters {
		switch field {
		case "status", "retired", "model", "parent":
			set := x.by[rosterKey{field, value}]
			if set == nil {
				return found
			}
			if set.Len() < within.Len() {
				within = set
			}
		}
	}
	limit, only, after := q.limit(0), events.AgentID(q.Parameters["agent"]), events.AgentID(q.Parameters["after"])
	within.Ascend(&AgentSummary{ID: max(only, after)}, func(agent *AgentSummary) bool {
		if only != "" && agent.ID != only {
			return false
		}
		if agent.ID != after && wanted(q, keysOf(agent)) {
			copied := *agent
			copied.Approvals = slices.Clone(agent.Approvals)
			found = append(found, copied)
		}
		return len(found) != limit || limit == 0
	})
	return found
}

func wanted(q Query, keys rosterKeys) bool {
	for _, key := range keys {
		if !matches(q.Parameters[key.field], key.value) {
			return false
		}
	}
	return true
}
