package cluster

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"example.com/life/events"
	"example.com/life/sagas"
)

// What a member may say of itself, and a person of a pin.
const (
	maxMembers = 256
	maxPins    = 10_000
	maxLabels  = 32
	maxWord    = 256
	maxWords   = 4096 // tools, providers, kinds
	maxWeight  = 10_000

	leastFence, mostFence   = 100 * events.Millisecond, 10 * events.Minute
	leastSilent, mostSilent = 100 * events.Millisecond, events.Minute
)

// The names that a pin may ask for besides a host's labels.
const (
	labelHost = "host"
	labelZone = "zone"
)

func validJoin(h *events.HostJoined) error {
	if err := events.ValidateHost(h.Name); err != nil {
		return refuse(sagas.RefusedInvalid, "%v", err)
	}
	bad := func(format string, args ...any) error {
		return refuse(sagas.RefusedInvalid, "host %s: %s", h.Name, fmt.Sprintf(format, args...))
	}
	switch {
	case h.Peer == "":
		return bad("no address for the other hosts: give --peer HOST:PORT")
	case h.Weight < 0 || h.Weight > maxWeight:
		return bad("its weight is %d, want 0 to %d", h.Weight, maxWeight)
	case h.Protocol.Oldest < 1 || h.Protocol.Newest < h.Protocol.Oldest:
		return bad("it speaks versions %d to %d of the protocol", h.Protocol.Oldest, h.Protocol.Newest)
	case h.Fence < leastFence || h.Fence > mostFence:
		return bad("its fencing delay is %s, want %s to %s", length(h.Fence), length(leastFence), length(mostFence))
	case h.Silent < leastSilent || h.Silent > mostSilent:
		return bad("it allows silence for %s, want %s to %s", length(h.Silent), length(leastSilent), length(mostSilent))
	case len(h.Labels) > maxLabels || len(h.Roles) > maxLabels || len(h.Tools) > maxWords || len(h.Providers) > maxWords || len(h.Catalogue) > maxWords:
		return bad("it has more than %d labels or roles, or more than %d tools, providers or kinds", maxLabels, maxWords)
	}
	for _, words := range [][]string{{h.Peer, h.API, h.Zone, h.Build}, h.Roles, h.Tools, h.Providers} {
		for _, word := range words {
			if len(word) > maxWord || !utf8.ValidString(word) {
				return bad("%q is too long, or no UTF-8: want at most %d bytes", events.Clip(word, 80), maxWord)
			}
		}
	}
	return validLists(h, bad)
}

func validLists(h *events.HostJoined, bad func(string, ...any) error) error {
	for i, label := range h.Labels {
		if err := validLabel(label); err != nil {
			return err
		}
		if label.Name == labelHost || label.Name == labelZone {
			return bad("a label is named %s: that is its name or zone already", label.Name)
		}
		if slices.ContainsFunc(h.Labels[:i], func(l events.Label) bool { return l.Name == label.Name }) {
			return bad("it has two labels %s", label.Name)
		}
	}
	for i, k := range h.Catalogue {
		if k.Of == "" || len(k.Of) > maxWord || k.Version < 1 || i > 0 && h.Catalogue[i-1].Of >= k.Of {
			return bad("its catalogue has %q version %d: want kinds in order, each once, with a version from 1", events.Clip(string(k.Of), 80), k.Version)
		}
	}
	return nil
}

func validLabel(l events.Label) error {
	if l.Name == "" || l.Value == "" || len(l.Name) > maxWord || len(l.Value) > maxWord || strings.ContainsAny(l.Name, "=, ") ||
		!utf8.ValidString(l.Name) || !utf8.ValidString(l.Value) {
		return refuse(sagas.RefusedInvalid, "%q is no label: write NAME=VALUE, at most %d bytes each", events.Clip(l.String(), 80), maxWord)
	}
	return nil
}

// placed reports whether a stream is that of an entity.
func placed(stream events.Stream) error {
	category, id := stream.Split()
	if category == "" || id == "" || len(stream) > maxWord || !utf8.ValidString(string(stream)) || category == events.ClusterCategory {
		return refuse(sagas.RefusedInvalid, "%q is no entity: name its stream, such as agent-demo", events.Clip(string(stream), 80))
	}
	return nil
}

// Catalogue is what this build reads, as a host says it when it joins.
func Catalogue() []events.KindVersion {
	kinds := make([]events.KindVersion, len(events.Catalog))
	for i := range events.Catalog {
		kinds[i] = events.KindVersion{Of: events.Catalog[i].Kind, Version: events.Catalog[i].Version}
	}
	slices.SortFunc(kinds, func(a, b events.KindVersion) int { return strings.Compare(string(a.Of), string(b.Of)) })
	return kinds
}

// Compatible reports whether a host can be a member beside those that there are: they speak a common version of the protocol, keep one
// fencing delay, and of two builds one reads all that the other does. A host that reads less than a member is let in only if that is said.
func (v *View) Compatible(join events.HostJoined, joinOlder bool) error {
	_, err := v.compatible(&join, "", joinOlder)
	return err
}

func (v *View) compatible(join *events.HostJoined, dead events.HostID, joinOlder bool) (older bool, err error) {
	if _, replaces := v.Members[dead]; len(v.Members) >= maxMembers && !replaces {
		return false, refuse(sagas.RefusedState, "cluster %s has %d members, which is the most there can be", v.Name, len(v.Members))
	}
	for _, member := range v.Sorted() {
		m := &member.Joined
		if member.ID == dead {
			continue
		}
		refused := func(format string, args ...any) error {
			return refuse(sagas.RefusedState, "host %s (build %s) cannot be a member beside %s (build %s): %s",
				join.Name, join.Build, member.ID, m.Build, fmt.Sprintf(format, args...))
		}
		if join.Protocol.Oldest > m.Protocol.Newest || join.Protocol.Newest < m.Protocol.Oldest {
			return false, refused("it speaks versions %d to %d of the protocol between hosts, %s speaks %d to %d: upgrade by way of a build that speaks both",
				join.Protocol.Oldest, join.Protocol.Newest, member.ID, m.Protocol.Oldest, m.Protocol.Newest)
		}
		if join.Fence != m.Fence {
			return false, refused("its fencing delay is %s, that of the cluster is %s: start it with --fence %s", length(join.Fence), length(m.Fence), length(m.Fence))
		}
		lacks, more := lacking(join.Catalogue, m.Catalogue), lacking(m.Catalogue, join.Catalogue)
		switch {
		case lacks != "" && more != "":
			return false, refused("neither reads all that the other writes: it does not know %s, and %s does not know %s: use builds of which one is newer",
				lacks, member.ID, more)
		case lacks != "" && !joinOlder:
			return false, refused("it is older, and does not know %s: upgrade it, or add --join-older to go back to its build", lacks)
		}
		older = older || lacks != ""
	}
	return older, nil
}

// lacking names what the first catalogue has not, or only in an older version; empty if there is nothing. Both are in order.
func lacking(has, wanted []events.KindVersion) string {
	for _, w := range wanted {
		i, found := slices.BinarySearchFunc(has, w.Of, func(k events.KindVersion, kind events.Kind) int { return strings.Compare(string(k.Of), string(kind)) })
		if !found || has[i].Version < w.Version {
			return fmt.Sprintf("%s version %d", w.Of, w.Version)
		}
	}
	return ""
}

// Mixed reports whether members are of different builds.
func (v *View) Mixed() bool {
	build, first := "", true
	for _, member := range v.Members {
		if !first && member.Joined.Build != build {
			return true
		}
		build, first = member.Joined.Build, false
	}
	return false
}

// length writes a length of time as --fence and --silent read it.
func length(of events.Micros) string {
	if of%events.Second == 0 {
		return fmt.Sprintf("%ds", of/events.Second)
	}
	return fmt.Sprintf("%dms", of/events.Millisecond)
}
