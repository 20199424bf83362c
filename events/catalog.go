package events

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Spec describes one kind of event.
type Spec struct {
	Kind    Kind
	Version int // the version this build writes
	// Upcasts carry stored data one version forward: Upcasts[0] from version 1 to 2, and so on; len is Version-1.
	Upcasts []Upcast
	decode  func(json.RawMessage) (Event, error)
	// Zero is the event with no content; its type is what documentation and tests read.
	Zero Event
}

// Upcast rewrites the data of one version as the next version's. It must accept everything that version ever stored.
type Upcast func(json.RawMessage) (json.RawMessage, error)

// Catalog lists every kind of event, by family in the order a turn meets them. It is the only list.
//
//nolint:gochecknoglobals // an explicit list, never written to
var Catalog = []Spec{
	// 2: config.knowledge; 3: config.masking and secrets, masked; 4: config.once; 5: config.thinking; 6: config.route; 7: config.compaction; 8: config.skills; 9: config.editor; 10: config.policy.mode and on_ask; 11: config.mcp, and of in tools
	kind[AgentCreated](11, sameData, sameData, sameData, sameData, sameData, sameData, sameData, sameData, sameData, sameData),
	kind[AgentForked](12, forkedV2, sameData, sameData, sameData, sameData, sameData, sameData, sameData, sameData, sameData, sameData),
	kind[AgentConfigured](11, sameData, sameData, sameData, sameData, sameData, sameData, sameData, sameData, sameData, sameData),
	kind[AgentRetired](1),
	kind[AgentQuarantined](1),
	kind[AgentReleased](1),
	kind[MessageReceived](2, sameData), // 2: masked, as in every text
	kind[MessageDelivered](1),

	kind[ForkDiverged](1),
	kind[ForkSkipped](1),
	kind[ForkFinished](1),

	kind[TurnStarted](2, sameData), // 2: by_window
	kind[TurnPaused](1),
	kind[TurnResumed](1),
	kind[TurnEnded](3, sameData, sameData),
	kind[LoopWarned](1),

	kind[RulesAdopted](1),
	kind[AdviceRequested](1),
	kind[AdviceGiven](1),
	kind[AdviceMissed](1),

	kind[BudgetRequested](1),
	kind[BudgetGranted](1),
	kind[BudgetRefused](1),
	kind[BudgetWarned](1),
	kind[SettlementRequested](1),
	kind[SettlementRecorded](1),

	kind[ModelRequested](3, sameData, sameData), // 3: route, because
	// 2: polling; 3: masked; 4: fault, extra, calls.cut, usage.estimated; 5: calls.blob, withheld; 6: blocks in place of extra, more of usage; 7: met
	kind[ModelReplied](7, sameData, sameData, sameData, sameData, repliedV6, sameData),
	kind[ModelFailed](4, sameData, sameData, sameData), // 4: left

	kind[CompactionRequested](1),
	kind[SummaryRequested](2, sameData), // 2: for
	kind[ConversationCompacted](1),

	kind[UndoRequested](1),
	kind[UndoEnded](1),

	kind[ToolRequested](2, sameData),                      // 2: blob
	kind[ToolReturned](4, sameReturn, sameData, sameData), // 4: sandbox, confined
	kind[ToolLost](2, sameData),                           // 2: host
	kind[ToolRefused](1),
	kind[EffectClaimed](1),
	kind[ApprovalRequested](2, sameData), // 2: arguments
	kind[ApprovalGranted](2, sameData),   // 2: arguments
	kind[ApprovalDenied](1),
	kind[ApprovalExpired](1),
	kind[QuestionAsked](1),
	kind[QuestionAnswered](1),

	kind[PermissionJudged](1),
	kind[PermissionRemembered](1),
	kind[PermissionRevoked](1),

	kind[WalletOpened](1),
	kind[WalletCredited](1),
	kind[FundsReserved](1),
	kind[FundsRefused](1),
	kind[FundsSettled](1),
	kind[WalletWarned](1),

	kind[NoteWritten](3, sameData, sameData), // 3: source.dir, links.file
	kind[NoteRemoved](1),
	kind[KnowledgeRequested](1),
	kind[KnowledgeRecalled](1),
	kind[KnowledgeMissed](1),
	kind[ProjectionAdded](2, sameData),
	kind[ProjectionRemoved](1),
	kind[ProjectionSkipped](1),

	kind[HostJoined](1),
	kind[HostDraining](1),
	kind[HostLeft](1),
	kind[HostRemoved](1),
	kind[PlacementPinned](1),
	kind[PlacementUnpinned](1),
}

//nolint:gochecknoglobals // derived from Catalog, never written to
var byKind = index(Catalog)

// Encode gives the data and version under which an event is stored.
func Encode(event Event) (data json.RawMessage, version int, err error) {
	return new(Encoder).Encode(event)
}

// older is an event of a kind whose older versions held less of what was decided.
type older interface{ as(version int) Event }

// As is an event as the build that wrote a version of its kind would have recorded it.
func As(event Event, version int) Event {
	if e, ok := event.(older); ok {
		return e.as(version)
	}
	return event
}

// Encoder encodes one event after another, and uses its memory again. It belongs to one goroutine.
type Encoder struct {
	buffer bytes.Buffer
	json   *json.Encoder
	ends   []int
}

// keepEncoded is the largest event whose memory an Encoder uses again.
const keepEncoded = 64 << 10

// Encode is the package's Encode.
func (e *Encoder) Encode(event Event) (data json.RawMessage, version int, err error) {
	err = e.EncodeAll([]Event{event}, func(_ Event, encoded json.RawMessage, of int) { data, version = encoded, of })
	return data, version, err
}

// EncodeAll encodes events that are stored together, and hands each event's data and version to encoded when all can be encoded. The data share memory.
func (e *Encoder) EncodeAll(all []Event, encoded func(event Event, data json.RawMessage, version int)) error {
	e.reset()
	e.ends = e.ends[:0]
	for _, event := range all {
		if unknown, ok := event.(Unknown); ok {
			e.buffer.Write(unknown.Data)
		} else if err := e.write(event); err != nil {
			return fmt.Errorf("encode %s: %w", event.Kind(), err)
		}
		e.ends = append(e.ends, e.buffer.Len())
	}
	data, from := bytes.Clone(e.buffer.Bytes()), 0
	for i, event := range all {
		encoded(event, data[from:e.ends[i]:e.ends[i]], versionOf(event))
		from = e.ends[i]
	}
	return nil
}

// versionOf is the version under which an event is stored.
func versionOf(event Event) int {
	if unknown, ok := event.(Unknown); ok {
		return unknown.Version
	}
	return byKind[event.Kind()].Version
}

// write encodes an event at the end of the buffer.
func (e *Encoder) write(event Event) error {
	if _, ok := byKind[event.Kind()]; !ok {
		return errors.New("the kind is not in events.Catalog")
	}
	return e.add(event)
}

// Decode reads stored data. Unknown kinds and newer versions give an Unknown and no error.
func Decode(kind Kind, version int, data json.RawMessage) (Event, error) {
	spec, ok := byKind[kind]
	if !ok || version > spec.Version {
		return Unknown{Of: kind, Version: version, Data: bytes.Clone(data)}, nil
	}
	return spec.read(version, data)
}

// read decodes data of a version that the spec knows, carrying it forward first.
func (s *Spec) read(version int, data json.RawMessage) (Event, error) {
	if version < 1 {
		return nil, fmt.Errorf("decode %s: version %d, want 1 to %d", s.Kind, version, s.Version)
	}
	stored := version
	for _, upcast := range s.Upcasts[version-1:] {
		next, err := upcast(data)
		if err != nil {
			return nil, fmt.Errorf("decode %s: upcast from version %d: %w", s.Kind, version, err)
		}
		data, version = next, version+1
	}
	if event := s.walked(data, false); event != nil {
		return event, nil
	}
	event, err := s.decode(data)
	if err != nil {
		return nil, fmt.Errorf("decode %s version %d: %w", s.Kind, stored, err)
	}
	return event, nil
}

// PlainJSON is json.Marshal without HTML escaping.
func PlainJSON(value any) (json.RawMessage, error) {
	var e Encoder
	return e.PlainJSON(value)
}

// PlainJSON is [PlainJSON], in memory that is used again for what is encoded next.
func (e *Encoder) PlainJSON(value any) (json.RawMessage, error) {
	e.reset()
	if err := e.add(value); err != nil {
		return nil, err
	}
	return bytes.Clone(e.buffer.Bytes()), nil
}

// reset empties the buffer. The memory of a very large event is let go.
func (e *Encoder) reset() {
	if e.json == nil || e.buffer.Cap() > keepEncoded {
		e.buffer = bytes.Buffer{}
		e.buffer.Grow(256) // holds most events
		e.json = json.NewEncoder(&e.buffer)
		e.json.SetEscapeHTML(false)
	}
	e.buffer.Reset()
}

// add encodes a value at the end of the buffer, without HTML escaping. Escaping would rewrite "<" inside a json.RawMessage, so that the arguments
// of a call came back from the store as other bytes than those that were approved.
func (e *Encoder) add(value any) error {
	if err := e.json.Encode(value); err != nil {
		return err
	}
	e.buffer.Truncate(e.buffer.Len() - 1) // the line's end
	return nil
}

// Family is the part of the kind before the dot.
func (k Kind) Family() string {
	family, _, _ := strings.Cut(string(k), ".")
	return family
}

func kind[E Event](version int, upcasts ...Upcast) Spec {
	var zero E
	return Spec{
		Kind:    zero.Kind(),
		Version: version,
		Upcasts: upcasts,
		Zero:    zero,
		decode: func(data json.RawMessage) (Event, error) {
			var event E
			if string(bytes.TrimSpace(data)) == "null" { // json would take it for an event with nothing in it
				return nil, errors.New("the data is null, want a JSON object")
			}
			if err := json.Unmarshal(data, &event); err != nil {
				return nil, err
			}
			return event, nil
		},
	}
}

// sameData is the upcast to a version that can hold more than the one before, which it reads as it is.
func sameData(data json.RawMessage) (json.RawMessage, error) { return data, nil }

func index(specs []Spec) map[Kind]*Spec {
	byKind := make(map[Kind]*Spec, len(specs))
	for i := range specs {
		byKind[specs[i].Kind] = &specs[i]
	}
	return byKind
}
