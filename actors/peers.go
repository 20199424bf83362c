package actors

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"example.com/life/events"
	"example.com/life/sagas"
	"example.com/life/sagas/cluster"
	"example.com/life/sagas/strictjson"
)

// Peers is how a host reaches the others of its cluster. Each of them answers with [Host.ServePeer] and [Host.ServeDeltas].
type Peers interface {
	// Call asks another host. An error means that it gave no answer: what became of the call is unknown, unless it says [ErrPeerRefused].
	// What the other host says is in the answer, its errors too. It does not outlive ctx.
	Call(ctx context.Context, to cluster.Member, call PeerCall) (PeerAnswer, error)
	// Deltas shows what an agent's model produces on another host, until ctx ends, whose error it returns; nil says that the other host
	// ended it. show must not block for long, and is not called after Deltas has returned.
	Deltas(ctx context.Context, to cluster.Member, agent events.AgentID, show func(FeedDelta)) error
}

// ErrPeerRefused says that nothing took the call: the other host's port is closed. It did nothing.
var ErrPeerRefused = errors.New("the host refuses connections")

// ErrNotMember says that a host asks which was removed, or never joined.
var ErrNotMember = errors.New("its id was removed, or never joined")

// Bounds of what hosts ask of each other.
const (
	MaxPeerHops    = 3       // a command is forwarded so often at most
	MaxPeerStreams = 16      // that are handed over at once
	maxUnfit       = 256     // hosts
	maxProjections = 1024    // that are rebuilt at once
	MaxPeerBody    = 9 << 20 // bytes of a call or an answer: the largest message, 8 MiB, and what is around it
)

// PeerCall is what one host asks of another. Exactly one of the pointers is set.
type PeerCall struct {
	Epoch events.Revision `json:"epoch,string"` // of the caller's view
	Hops  int             `json:"hops"`         // hosts that it came through before the caller
	// Unfit are the hosts that come before the called one in rank and cannot hold the entity.
	Unfit []events.HostID `json:"unfit,omitempty"`

	Do     *PeerDo       `json:"do,omitempty"`
	Advise *PeerAdvise   `json:"advise,omitempty"`
	Own    *PeerOwn      `json:"own,omitempty"`
	Take   *PeerTake     `json:"take,omitempty"`
	Runs   *PeerRuns     `json:"runs,omitempty"`
	Keep   *PeerSnapshot `json:"keep,omitempty"`

	Standing *PeerStanding   `json:"standing,omitempty"`
	Project  *PeerProjection `json:"project,omitempty"`
}

type (
	// PeerDo has an entity decide a command. The entity's own host completes it: what it says about tools and models is true there.
	PeerDo struct {
		Stream      events.Stream `json:"stream"`
		Command     PeerCommand   `json:"command"`
		Actor       string        `json:"actor,omitempty"`
		Traceparent string        `json:"traceparent,omitempty"`
		Causation   events.Ref    `json:"causation,omitempty"`
		Entry       events.HostID `json:"entry,omitempty"` // the host to which the command came

		read sagas.Command // the command, if it was read already
	}
	// PeerAdvise asks a tenant's homeostasis for an operating mode.
	PeerAdvise struct {
		Tenant events.TenantID         `json:"tenant"`
		Vector events.AgentStateVector `json:"vector"`
		Mode   events.OperatingMode    `json:"mode"`
	}
	// PeerOwn asks for an entity that the caller has become the owner of.
	PeerOwn struct {
		Stream events.Stream `json:"stream"`
	}
	// PeerTake tells a host that these entities have work to do, and are its own now: the caller has let go of them.
	PeerTake struct {
		Streams []events.Stream `json:"streams"`
	}
	// PeerRuns asks whether a call that the host claimed is still under way there.
	PeerRuns struct {
		Agent   events.AgentID   `json:"agent"`
		Request events.RequestID `json:"request"`
	}
	// PeerStanding asks what the host does; with a stream, of that entity alone.
	PeerStanding struct {
		Stream events.Stream `json:"stream,omitempty"`
	}
	// PeerSnapshot is a fold for the host that goes on with it. It is a cache: the receiver compares it with history when it reads it.
	PeerSnapshot struct {
		Fold     string          `json:"fold"`
		Stream   events.Stream   `json:"stream"`
		Revision events.Revision `json:"revision,string"`
		Digest   events.Digest   `json:"digest"`
		State    json.RawMessage `json:"state"`
	}
	// PeerProjection asks a host about projections that it keeps: Names, and what of them.
	PeerProjection struct {
		Ask        PeerAsking      `json:"ask"`
		Names      []string        `json:"names"` // several, or none at all, only to be rebuilt
		Query      string          `json:"query,omitempty"`
		Parameters []PeerParameter `json:"parameters,omitempty"`
		At         events.Position `json:"at,string,omitempty"`
		Min        events.Position `json:"min,string,omitempty"`
		Own        events.Position `json:"own,string,omitempty"` // the newest that the asking host stored, or had another one store
		Count      int             `json:"count,omitempty"`      // of steps, from At
		Skip       *PeerCommand    `json:"skip,omitempty"`
	}
	// PeerParameter is a parameter of a query.
	PeerParameter struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	}
)

// PeerAsking is what is asked of a projection.
type PeerAsking string

// What is asked. The answer's Projected is an object whose Said is what the method of [projector.Projector] returns.
const (
	PeerQuery   PeerAsking = "query"
	PeerStatus  PeerAsking = "status"
	PeerSteps   PeerAsking = "steps"
	PeerRebuild PeerAsking = "rebuild"
	PeerSkip    PeerAsking = "skip" // that a command to skip an event is completed
)

// PeerAnswer is what a host answers. With an error nothing else is set but the epoch.
type PeerAnswer struct {
	Epoch   events.Revision `json:"epoch,string"`   // of the answering host's view
	Settled events.Revision `json:"settled,string"` // the newest epoch as of which that host holds nothing that belongs elsewhere
	Receipt *Receipt        `json:"receipt,omitempty"`
	Outcome *PeerOutcome    `json:"outcome,omitempty"` // of a command with an internal id
	Advice  *PeerAdvice     `json:"advice,omitempty"`
	Own     PeerHolding     `json:"own,omitempty"`
	Runs    *PeerRun        `json:"runs,omitempty"`

	Standing  *Standing       `json:"standing,omitempty"`
	Projected json.RawMessage `json:"projected,omitempty"`

	Error *PeerError `json:"error,omitempty"`
}

type (
	// PeerOutcome is what an entity decided for another entity: the events too, for they are the answer.
	PeerOutcome struct {
		Revision events.Revision `json:"revision,string"`
		Position events.Position `json:"position,string"`
		Events   []PeerEvent     `json:"events,omitempty"`
	}
	// PeerEvent is an event that was decided, as it is stored.
	PeerEvent struct {
		Kind    events.Kind     `json:"kind"`
		Version int             `json:"version"`
		Data    json.RawMessage `json:"data"`
	}
	// PeerAdvice is homeostasis' advice, and the rules that fired.
	PeerAdvice struct {
		Mode    events.OperatingMode `json:"mode"`
		Because []string             `json:"because,omitempty"`
	}
)

// PeerRun is the answer to [PeerRuns].
type PeerRun struct {
	Runs   bool         `json:"runs,omitempty"`   // it is under way, or about to begin
	Result *PeerCommand `json:"result,omitempty"` // what it gave back, if it has ended and that could not be stored
}

// PeerHolding is the answer to [PeerOwn].
type PeerHolding string

// What becomes of an entity that its owner asks for.
const (
	PeerReleased PeerHolding = "released" // it is not here, and everything that it decided is stored
	PeerHeld     PeerHolding = "held"     // it is here until what runs has ended: its commands come here meanwhile
)

// ReadPeerCall reads the JSON of a call. What is not as it should be is a *strictjson.Malformed.
func ReadPeerCall(data []byte) (PeerCall, error) {
	var call PeerCall
	if err := readPeer(data, &call); err != nil {
		return PeerCall{}, err
	}
	if call.Do != nil {
		command, err := call.Do.Command.Command()
		if err != nil {
			return PeerCall{}, &strictjson.Malformed{Detail: err.Error()}
		}
		call.Do.read = command
	}
	if err := call.check(); err != nil {
		return PeerCall{}, &strictjson.Malformed{Detail: err.Error()}
	}
	return call, nil
}

// ReadPeerAnswer reads the JSON of an answer. What is not as it should be is a *strictjson.Malformed.
func ReadPeerAnswer(data []byte) (PeerAnswer, error) {
	var answer PeerAnswer
	if err := readPeer(data, &answer); err != nil {
		return PeerAnswer{}, err
	}
	if answer.Own != "" && answer.Own != PeerReleased && answer.Own != PeerHeld {
		return PeerAnswer{}, &strictjson.Malformed{Detail: fmt.Sprintf("own is %q, want released or held", events.Clip(string(answer.Own), 80))}
	}
	if answer.Error != nil && (answer.Receipt != nil || answer.Outcome != nil || answer.Advice != nil || answer.Own != "" || answer.Runs != nil || answer.Standing != nil || answer.Projected != nil) {
		return PeerAnswer{}, &strictjson.Malformed{Detail: "an answer that is an error holds something else"}
	}
	return answer, nil
}

func readPeer(data []byte, into any) error {
	if len(data) > MaxPeerBody {
		return &strictjson.Malformed{Detail: fmt.Sprintf("the body has %d bytes, at most %d are allowed", len(data), MaxPeerBody)}
	}
	return strictjson.Read(data, into)
}

// WritePeer writes a call or an answer as the other side reads it.
func WritePeer[T PeerCall | PeerAnswer](value T) ([]byte, error) { return peerJSON(&value) }

// encoders are those that nobody uses at the moment.
var encoders = sync.Pool{New: func() any { return new(events.Encoder) }} //nolint:gochecknoglobals // memory that is used again

func peerJSON(value any) ([]byte, error) {
	e, _ := encoders.Get().(*events.Encoder) //nolint:errcheck // nothing else is in it
	defer encoders.Put(e)
	return e.PlainJSON(value)
}

// check refuses what no host of this build asks.
func (c *PeerCall) check() error {
	asked := 0
	for _, set := range []bool{c.Do != nil, c.Advise != nil, c.Own != nil, c.Take != nil, c.Runs != nil, c.Keep != nil, c.Standing != nil, c.Project != nil} {
		if set {
			asked++
		}
	}
	switch {
	case asked != 1:
		return fmt.Errorf("a call asks one thing, and this one asks %d", asked)
	case c.Hops < 0 || c.Hops >= MaxPeerHops:
		return fmt.Errorf("it came through %d hosts, at most %d are allowed: two hosts disagree about where the entity lives", c.Hops, MaxPeerHops-1)
	case len(c.Unfit) > maxUnfit:
		return fmt.Errorf("%d hosts cannot hold it, which is more than a cluster has", len(c.Unfit))
	case c.Epoch < 0:
		return fmt.Errorf("epoch %d is no revision", c.Epoch)
	case c.Do != nil:
		return c.Do.check()
	case c.Advise != nil:
		return c.Advise.Tenant.Validate()
	case c.Own != nil:
		return checkPlaced(c.Own.Stream)
	case c.Take != nil:
		if n := len(c.Take.Streams); n > MaxPeerStreams {
			return fmt.Errorf("%d streams are handed over at once, at most %d are allowed", n, MaxPeerStreams)
		}
		for _, stream := range c.Take.Streams {
			if err := checkPlaced(stream); err != nil {
				return err
			}
		}
	case c.Runs != nil:
		return c.Runs.Agent.Validate()
	case c.Standing != nil && c.Standing.Stream != "":
		return checkPlaced(c.Standing.Stream)
	case c.Keep != nil:
		return checkPlaced(c.Keep.Stream)
	case c.Project != nil:
		return c.Project.check()
	}
	return nil
}

func (p *PeerProjection) check() error {
	switch p.Ask {
	case PeerQuery, PeerStatus, PeerSteps, PeerSkip:
		if len(p.Names) != 1 {
			return fmt.Errorf("a call about one projection names %d", len(p.Names))
		}
	case PeerRebuild:
		if len(p.Names) == 0 || len(p.Names) > maxProjections {
			return fmt.Errorf("a call to rebuild projections names %d", len(p.Names))
		}
	default:
		return fmt.Errorf("nobody can ask %q of a projection", events.Clip(string(p.Ask), 80))
	}
	if (p.Ask == PeerSkip) != (p.Skip != nil) {
		return errors.New("a call to skip an event holds the command, and no other does")
	}
	return nil
}

// command reads the command once.
func (d *PeerDo) command() (sagas.Command, error) {
	if d.read != nil {
		return d.read, nil
	}
	return d.Command.Command() // not kept: others may read the same call
}

func (d *PeerDo) check() error {
	command, err := d.command()
	if err != nil {
		return err
	}
	if err := d.Command.ID.Validate(); err != nil {
		return err
	}
	if _, result := command.(sagas.RecordResult); result || fromEntity(command) != strings.HasPrefix(string(d.Command.ID), sagas.InternalPrefix) {
		return fmt.Errorf("the id %q does not fit a %s: ids that begin with %s are those of entities", d.Command.ID, d.Command.Type, sagas.InternalPrefix)
	}
	return checkPlaced(d.Stream)
}

// fromEntity reports a command that an entity sends to another one; all others come from outside.
func fromEntity(command sagas.Command) bool {
	switch command.(type) {
	case sagas.Reserve, sagas.Settle:
		return true
	}
	return false
}

// placedCategories are those whose entities live on one host of a cluster.
func placedCategories() []string {
	return []string{
		events.AgentCategory, events.WalletCategory, events.HomeostasisCategory, events.KnowledgeCategory, events.ProjectionsCategory,
	}
}

func checkPlaced(stream events.Stream) error {
	category, id := stream.Split()
	if !slices.Contains(placedCategories(), category) || len(id) > 128 || events.AgentID(id).Validate() != nil {
		return fmt.Errorf("stream %q is no entity's", events.Clip(string(stream), 120))
	}
	return nil
}
