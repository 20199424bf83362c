package events

import (
	"strconv"
	"strings"
)

// HostID names a host of a cluster from its join to its end: "<name>#<revision of its join>". A host that joins again has another id, so an
// id that was removed never comes back.
type HostID string

// NewHostID derives the id of a host from its name and the revision of its [HostJoined].
func NewHostID(name string, joined Revision) HostID {
	return HostID(name + "#" + strconv.FormatInt(int64(joined), 10))
}

// Name returns the name of the host, which another host may have had before; empty when the id is malformed.
func (id HostID) Name() string {
	name, _, ok := id.split()
	if !ok {
		return ""
	}
	return name
}

// Joined returns the revision at which the host joined; NoRevision when the id is malformed.
func (id HostID) Joined() Revision {
	_, joined, ok := id.split()
	if !ok {
		return NoRevision
	}
	return joined
}

func (id HostID) split() (name string, joined Revision, ok bool) {
	name, digits, _ := strings.Cut(string(id), "#")
	revision, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || revision < 0 || ValidateHost(name) != nil || NewHostID(name, Revision(revision)) != id {
		return "", NoRevision, false
	}
	return name, Revision(revision), true
}

// ValidateHost reports whether name can name a host.
func ValidateHost(name string) error { return validName("host", name) }

// ValidateCluster reports whether name can name a cluster.
func ValidateCluster(name string) error { return validName("cluster", name) }

// HostJoined records that a host became a member of the cluster. It says all that others need to know of it: where it is, what it can
// hold, and which events it can read.
type HostJoined struct {
	Name      string        `json:"name"`
	Peer      string        `json:"peer"`             // HOST:PORT on which it answers the other hosts
	API       string        `json:"api,omitempty"`    // URL of its HTTP API
	Zone      string        `json:"zone,omitempty"`   // what fails together with it
	Labels    []Label       `json:"labels,omitempty"` // for pins
	Weight    int           `json:"weight"`           // its share of the entities; with 0 it holds only those that are pinned to it
	Roles     []string      `json:"roles,omitempty"`
	Build     string        `json:"build"`
	Protocol  ProtocolRange `json:"protocol"`            // of the calls between hosts
	Catalogue []KindVersion `json:"catalogue,omitempty"` // the newest version of each kind that it reads, by kind
	Tools     []string      `json:"tools,omitempty"`
	Providers []string      `json:"providers,omitempty"`
	Fence     Micros        `json:"fence_us,string"`  // the fencing delay, one for the cluster: what a removed host began has ended that long after
	Silent    Micros        `json:"silent_us,string"` // without an answer for this long, it holds others for dead and is held for dead itself
	Older     bool          `json:"older,omitempty"`  // it was let in although a member reads newer events
}

// Label is a property of a host.
type Label struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// String writes the label as people do.
func (l Label) String() string { return l.Name + "=" + l.Value }

// ProtocolRange is the versions of a protocol that a build speaks.
type ProtocolRange struct {
	Oldest int `json:"oldest"`
	Newest int `json:"newest"`
}

// KindVersion is a kind of event with the newest version of it that a build reads.
type KindVersion struct {
	Of      Kind `json:"kind"`
	Version int  `json:"version"`
}

// HostDraining records that a host hands over what it holds, and is given nothing new.
type HostDraining struct {
	Host HostID `json:"host"`
	By   string `json:"by,omitempty"` // who asked for it: a person, or the host itself
}

// HostLeft records that a host has left by itself. Nothing that it began still runs.
type HostLeft struct {
	Host HostID `json:"host"`
}

// HostRemoved records that a host was removed: it is held for dead. What it began may run on until the fencing delay has passed.
type HostRemoved struct {
	Host      HostID        `json:"host"`
	By        string        `json:"by"` // the host that removed it; for "asked", a person; for "replaced", the name of the host that joins
	Because   RemovalReason `json:"because"`
	Confirmed []HostID      `json:"confirmed_by,omitempty"` // others that were asked, and have not heard from it either
	Detail    string        `json:"detail,omitempty"`
}

// RemovalReason says why a host is held for dead.
type RemovalReason string

// The reasons.
const (
	RemovedRefused   RemovalReason = "refused"   // nothing listens on its port any more
	RemovedSilent    RemovalReason = "silent"    // it did not answer for as long as it, or who removed it, allows
	RemovedStoreless RemovalReason = "storeless" // it could not reach the store while others could
	RemovedReplaced  RemovalReason = "replaced"  // a host of the same name joined, and it did not answer
	RemovedAsked     RemovalReason = "asked"     // a person said so
)

// PlacementPinned records where an entity may live: on hosts that have all of these labels. "host" and "zone" name a host's own.
type PlacementPinned struct {
	Stream Stream  `json:"stream"` // of the entity
	To     []Label `json:"to"`     // by name
	By     string  `json:"by,omitempty"`
}

// PlacementUnpinned records that an entity may live on any host again.
type PlacementUnpinned struct {
	Stream Stream `json:"stream"`
	By     string `json:"by,omitempty"`
}

// Kind returns the permanent name.
func (HostJoined) Kind() Kind        { return "host.joined" }
func (HostDraining) Kind() Kind      { return "host.draining" }
func (HostLeft) Kind() Kind          { return "host.left" }
func (HostRemoved) Kind() Kind       { return "host.removed" }
func (PlacementPinned) Kind() Kind   { return "placement.pinned" }
func (PlacementUnpinned) Kind() Kind { return "placement.unpinned" }

func (e HostJoined) String() string {
	zone, weight := "", ""
	if e.Zone != "" {
		zone = " in zone " + e.Zone
	}
	if e.Weight == 0 {
		weight = ", for pinned entities only"
	}
	return sentence("host %s joined%s with build %s, at %s%s", e.Name, zone, e.Build, e.Peer, weight)
}

func (e HostDraining) String() string {
	return sentence("host %s was asked to hand over what it holds%s", e.Host, by(e.By))
}

func (e HostLeft) String() string { return sentence("host %s left", e.Host) }

func (e HostRemoved) String() string {
	confirmed := ""
	if len(e.Confirmed) > 0 {
		confirmed = ", confirmed by " + list(e.Confirmed)
	}
	return sentence("host %s was removed%s (%s)%s%s", e.Host, by(e.By), e.Because, confirmed, because(e.Detail))
}

func (e PlacementPinned) String() string {
	to := make([]string, len(e.To))
	for i, label := range e.To {
		to[i] = label.String()
	}
	return sentence("%s was pinned to hosts with %s%s", e.Stream, strings.Join(to, ", "), by(e.By))
}

func (e PlacementUnpinned) String() string { return sentence("%s was unpinned%s", e.Stream, by(e.By)) }
