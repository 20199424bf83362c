package actors

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"example.com/life/actors/projector"
	"example.com/life/events"
	"example.com/life/projections"
	"example.com/life/sagas"
	"example.com/life/sagas/cluster"
)

// The queries of a host. In a cluster of more than a few hosts two keep each projection, except for the roster, which every host keeps: a question is
// passed on to one of them.

// Query asks a projection, as [projector.Projector.Query] does, wherever it is kept.
func (h *Host) Query(ctx context.Context, q projector.Question, progress func(folded int64)) (projector.Answer, error) {
	ask := PeerProjection{Ask: PeerQuery, Names: []string{q.Projection}, Query: q.Query.Name, At: q.At, Min: q.Min, Own: max(q.Own, h.Newest())}
	for _, name := range slices.Sorted(maps.Keys(q.Query.Parameters)) {
		ask.Parameters = append(ask.Parameters, PeerParameter{name, q.Query.Parameters[name]})
	}
	return askKeepers(ctx, h, &ask, func(ctx context.Context) (projector.Answer, error) { return h.Projector.Query(ctx, q, progress) })
}

// Projection says how a projection stands, on a host that keeps it.
func (h *Host) Projection(ctx context.Context, name string) (projector.Status, error) {
	ask := PeerProjection{Ask: PeerStatus, Names: []string{name}}
	return askKeepers(ctx, h, &ask, func(ctx context.Context) (projector.Status, error) {
		status, err := h.Projector.Projection(ctx, name)
		if h.cluster != nil && keepersOf(h.cluster.Member.View(), name) != nil {
			status.Host = h.id
		}
		return status, err
	})
}

// Projections lists the catalogue, and how each projection stands on a host that keeps it; one that no such host tells of is elsewhere.
func (h *Host) Projections(ctx context.Context) ([]projector.Status, error) {
	list, err := h.Projector.Projections(ctx)
	if err != nil || h.cluster == nil {
		return list, err
	}
	var asking sync.WaitGroup
	for i := range list {
		if keeps, _ := h.Keeps(list[i].Name); keeps {
			if keepersOf(h.cluster.Member.View(), list[i].Name) != nil {
				list[i].Host = h.id
			}
			continue
		}
		asking.Go(func() {
			status, err := h.Projection(ctx, list[i].Name)
			if err == nil {
				list[i] = status
				return
			}
			h.log.Warn("ask how a projection stands", "projection", list[i].Name, "error", err)
		})
	}
	asking.Wait()
	return list, nil
}

// Step shows what events do to a projection's state, on a host that keeps it.
func (h *Host) Step(ctx context.Context, name string, from events.Position, count int) ([]projector.Step, error) {
	ask := PeerProjection{Ask: PeerSteps, Names: []string{name}, At: from, Count: count}
	return askKeepers(ctx, h, &ask, func(ctx context.Context) ([]projector.Step, error) { return h.Projector.Step(ctx, name, from, count) })
}

// CompleteSkip fills in a command to skip an event, on a host that keeps the projection: it knows where it stopped.
func (h *Host) CompleteSkip(ctx context.Context, command sagas.SkipEvent) (sagas.SkipEvent, error) {
	here := func(ctx context.Context) (sagas.SkipEvent, error) { return h.Projector.CompleteSkip(ctx, command) }
	if h.cluster == nil {
		return here(ctx)
	}
	asked, err := NewPeerCommand(command)
	if err != nil {
		return command, err
	}
	ask := PeerProjection{Ask: PeerSkip, Names: []string{command.Name}, Skip: &asked}
	completed, err := askKeepers(ctx, h, &ask, here)
	command.Event, command.Of = completed.Event, completed.Of
	return command, err
}

// Rebuild folds history anew with projections, or with all of them, on each host that keeps them.
func (h *Host) Rebuild(ctx context.Context, names []string, progress func(at, head events.Position)) (projector.Rebuilt, error) {
	c := h.cluster
	if c == nil {
		return h.Projector.Rebuild(ctx, names, progress)
	}
	view := c.Member.View()
	if len(names) == 0 {
		names = h.Names()
	}
	at := map[events.HostID][]string{}
	for _, name := range names {
		hosts := keepersOf(view, name)
		if hosts == nil {
			hosts = []events.HostID{c.self}
		}
		for _, host := range hosts {
			at[host] = append(at[host], name)
		}
	}
	hosts := slices.Sorted(maps.Keys(at))
	reports, errs := make([]projector.Rebuilt, len(hosts)), make([]error, len(hosts))
	var rebuilding sync.WaitGroup
	for i, host := range hosts {
		rebuilding.Go(func() {
			if host == c.self {
				reports[i], errs[i] = h.Projector.Rebuild(ctx, at[host], progress)
				return
			}
			errs[i] = c.askKeeper(ctx, view.Members[host], &PeerProjection{Ask: PeerRebuild, Names: at[host]}, &reports[i])
		})
	}
	rebuilding.Wait()
	var all projector.Rebuilt
	for _, report := range reports {
		all.Events, all.Took = max(all.Events, report.Events), max(all.Took, report.Took)
		for _, one := range report.Projections {
			if !slices.ContainsFunc(all.Projections, func(other projector.RebuiltProjection) bool { return other.Name == one.Name }) {
				all.Projections = append(all.Projections, one)
			}
		}
	}
	return all, errors.Join(errs...)
}

// askKeepers asks a host that keeps a projection: this one if it can answer at once, else the first in rank. Another one is asked as well when that
// cannot answer, or has not within a second. What a host refuses is refused.
func askKeepers[T any](ctx context.Context, h *Host, ask *PeerProjection, here func(context.Context) (T, error)) (T, error) {
	c, name := h.cluster, ask.Names[0]
	if c == nil {
		return here(ctx)
	}
	view := c.Member.View()
	hosts := keepersOf(view, name)
	_, ready := h.Keeps(name)
	switch {
	case hosts == nil && (ready || name == projections.RosterName):
		return here(ctx)
	case hosts == nil: // each host does, and this one has yet to build it: others may have done so
		hosts = []events.HostID{c.self}
		for _, member := range view.Sorted() {
			if member.ID != c.self {
				hosts = append(hosts, member.ID)
			}
		}
	case slices.Contains(hosts, c.self):
		hosts = slices.DeleteFunc(hosts, func(id events.HostID) bool { return id == c.self })
		if ready {
			hosts = slices.Insert(hosts, 0, c.self)
		} else {
			hosts = append(hosts, c.self)
		}
	}
	return firstOf(ctx, len(hosts), func(ctx context.Context, i int) (answer T, err error) {
		if hosts[i] == c.self {
			return here(ctx)
		}
		return answer, c.askKeeper(ctx, view.Members[hosts[i]], ask, &answer)
	})
}

// keepersOf are the hosts that keep a projection, best first; nil: each host does, as each does the roster, since take-overs depend on it.
func keepersOf(view *cluster.View, projection string) []events.HostID {
	if projection == projections.RosterName {
		return nil
	}
	return view.Keepers(projection)
}

// firstOf does one thing after another until one gives an answer or a refusal: the next as soon as the one before has failed, or has taken a second.
func firstOf[T any](ctx context.Context, n int, do func(ctx context.Context, i int) (T, error)) (answer T, err error) {
	type result struct {
		answer T
		err    error
	}
	var asking sync.WaitGroup
	defer asking.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results, begun, failed := make(chan result, n), 0, 0
	next := func() {
		i := begun
		begun++
		asking.Go(func() {
			answer, err := do(ctx, i)
			results <- result{answer, err}
		})
	}
	next()
	patience := time.NewTicker(tryTime)
	defer patience.Stop()
	for {
		select {
		case r := <-results:
			var refused *sagas.RefusalError
			if r.err == nil || errors.As(r.err, &refused) {
				return r.answer, r.err
			}
			failed++
			var behind *projector.BehindError
			if err == nil || errors.As(r.err, &behind) { // it says most
				err = r.err
			}
			if failed == n {
				return answer, err
			}
			if begun == failed {
				next()
			}
		case <-patience.C:
			if begun < n {
				next()
			}
		}
	}
}

// askKeeper asks another host about projections that it keeps.
func (c *clustered) askKeeper(ctx context.Context, to cluster.Member, ask *PeerProjection, into any) error {
	answer, err := c.send(ctx, to, PeerCall{Project: ask})
	var silent *silentError
	if errors.As(err, &silent) {
		return &UnavailableError{Stream: events.ProjectionsStream(sagas.DefaultTenant), Reason: fmt.Sprintf("projection %s is kept by host %s, which did not answer: %s", strings.Join(ask.Names, ", "), to.ID, silent.why)}
	}
	if err != nil {
		return err
	}
	var said struct{ Said any }
	said.Said = into
	if err := json.Unmarshal(answer.Projected, &said); err != nil {
		return fmt.Errorf("read what host %s says of projection %s: %w", to.ID, strings.Join(ask.Names, ", "), err)
	}
	return nil
}

// projectHere answers another host about projections of this one.
func (c *clustered) projectHere(ctx context.Context, ask *PeerProjection) (PeerAnswer, error) {
	answer, err := c.projected(ctx, ask)
	if err != nil {
		return PeerAnswer{}, err
	}
	text, err := events.PlainJSON(struct{ Said any }{answer})
	if err != nil {
		return PeerAnswer{}, err
	}
	if len(text) > maxProjected {
		return PeerAnswer{}, &sagas.RefusalError{Code: sagas.RefusedInvalid, Detail: fmt.Sprintf(
			"the answer has %d bytes, and hosts send each other at most %d: ask for less, or ask host %s itself", len(text), maxProjected, c.self)}
	}
	return PeerAnswer{Projected: text}, nil
}

// maxProjected is how many bytes of an answer go to another host.
const maxProjected = 8 << 20

func (c *clustered) projected(ctx context.Context, ask *PeerProjection) (any, error) {
	name, of := ask.Names[0], c.host.Projector
	switch ask.Ask {
	case PeerStatus:
		status, err := of.Projection(ctx, name)
		status.Host = c.self
		return status, err
	case PeerSteps:
		return of.Step(ctx, name, ask.At, ask.Count)
	case PeerRebuild:
		return of.Rebuild(ctx, ask.Names, nil)
	case PeerSkip:
		command, err := ask.Skip.Command()
		if err != nil {
			return nil, &sagas.RefusalError{Code: sagas.RefusedInvalid, Detail: err.Error()}
		}
		skip, ok := command.(sagas.SkipEvent)
		if !ok {
			return nil, &sagas.RefusalError{Code: sagas.RefusedInvalid, Detail: "it is no command to skip an event"}
		}
		return of.CompleteSkip(ctx, skip)
	case PeerQuery:
	}
	q := projector.Question{Projection: name, At: ask.At, Min: ask.Min, Own: ask.Own, Query: projections.Query{Name: ask.Query, Parameters: map[string]string{}}}
	for _, p := range ask.Parameters {
		q.Query.Parameters[p.Name] = p.Value
	}
	return of.Query(ctx, q, nil)
}
