package membership

import (
	"context"
	"errors"

	"example.com/life/events"
	"example.com/life/sagas/cluster"
)

// Contacts asks other members. adapters/peers implements it.
type Contacts interface {
	// Ping asks whether a member can work. The error is ErrRefused if nothing listens on its port any more, ErrUntrusted if certificates do not
	// fit; anything else is no answer.
	Ping(ctx context.Context, to cluster.Member, ping Ping) (Pong, error)
	// Confirm asks a member whether it has heard from another.
	Confirm(ctx context.Context, to cluster.Member, suspect events.HostID) (Heard, error)
	// Probe asks a member to store a blob that was not there before.
	Probe(ctx context.Context, to cluster.Member) (events.BlobRef, error)
}

// ErrRefused says that nothing listens on the port of a host. Its machine answers, so the host has ended.
var ErrRefused = errors.New("the port refuses connections")

// ErrUntrusted says that one of two hosts does not accept the other's certificate.
var ErrUntrusted = errors.New("the hosts do not trust each other")

// Ping is what a host says as it asks whether another can work.
type Ping struct {
	From  events.HostID   `json:"from,omitempty"` // empty while it has not joined
	Epoch events.Revision `json:"epoch,string"`   // of its view; who is behind reads on
}

// Pong is what a host that can work says of itself. All durations are its own.
type Pong struct {
	Host      events.HostID   `json:"host"`           // another id than the one that was asked: that one has ended
	Epoch     events.Revision `json:"epoch,string"`   // of its view
	Settled   events.Revision `json:"settled,string"` // the newest epoch for which it holds nothing that belongs elsewhere
	Position  events.Position `json:"position,string"`
	Entities  int             `json:"entities"`
	Lag       events.Micros   `json:"lag_us,string"`                 // how late its goroutines are at the moment
	Storeless events.Micros   `json:"storeless_us,string,omitempty"` // how long it has been without the store
	Wall      events.Micros   `json:"wall_us,string"`                // its wall clock, to be shown and not counted with
}

// Question asks whether a member has been heard from.
type Question struct {
	Suspect events.HostID `json:"suspect"`
}

// Heard says when a member was last heard from.
type Heard struct {
	Known  bool          `json:"known"`            // it is a member, and has answered
	Within events.Micros `json:"within_us,string"` // how long ago
}
