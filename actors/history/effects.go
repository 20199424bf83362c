package history

import (
	"context"
	"encoding/json"
	"slices"

	"example.com/life/events"
	"example.com/life/projections/runs"
)

// Effects tells what followed from an event, in all streams: what was decided with it, what answered that, and so on. It reads the turns
// that the event belongs to, and looks up what they asked of wallets, tools and the bus.
func (r *Reader) Effects(ctx context.Context, ref events.Ref, progress func(read int64)) (*runs.TraceNode, error) {
	t := r.newTracer(progress)
	at, err := t.load(ctx, ref)
	if err != nil {
		return nil, err
	}
	if err := t.follow(ctx, at); err != nil {
		return nil, err
	}
	queue := refsOf(t.graph.Following(ref))
	seen := map[events.Ref]bool{}
	for len(queue) > 0 && t.read < mostTold {
		next := queue[0]
		if queue = queue[1:]; seen[next] {
			continue
		}
		seen[next] = true
		for _, e := range t.graph.Together(next) {
			if e.Ref() != next {
				continue
			}
			if err := t.follow(ctx, e); err != nil {
				return nil, err
			}
		}
		for _, caused := range t.graph.Caused(next) {
			queue = append(queue, refsOf(t.graph.Together(caused))...)
		}
	}
	deed := t.graph.Effects(ref)
	if len(queue) > 0 {
		deed.More = "there is more than one answer tells"
	}
	return deed, nil
}

func refsOf(all []*events.Envelope) []events.Ref {
	refs := make([]events.Ref, len(all))
	for i, e := range all {
		refs[i] = e.Ref()
	}
	return refs
}

// follow adds what an event can have led to.
func (t *tracer) follow(ctx context.Context, e *events.Envelope) error {
	category, _ := e.Stream.Split()
	if category == commandCategory {
		return t.followPublished(ctx, e)
	}
	if agent, is := e.Stream.Agent(); is {
		if turn := events.TurnID(e.Correlation); turn.Agent() == agent && turn.Number() > 0 {
			if err := t.turn(ctx, turn); err != nil {
				return err
			}
		}
	}
	event, err := e.Event()
	if err != nil {
		return nil //nolint:nilerr // an event that cannot be read is told, and nothing is known to follow from it
	}
	switch event := event.(type) {
	case events.MessageReceived:
		return t.takenIn(ctx, e, event.Message)
	case events.BudgetRequested:
		return t.answeredIn(ctx, events.WalletStream(event.Wallet), e)
	case events.SettlementRequested:
		return t.answeredIn(ctx, events.WalletStream(event.Wallet), e)
	case events.FundsReserved:
		return t.turn(ctx, event.Turn)
	case events.FundsRefused:
		return t.turn(ctx, event.Turn)
	case events.FundsSettled:
		return t.turn(ctx, event.Turn)
	case events.ToolRequested:
		return t.answeredIn(ctx, events.EffectStream(events.RequestID(e.Ref())), e)
	}
	return nil
}

// turn adds all events of a turn, and its settlement.
func (t *tracer) turn(ctx context.Context, turn events.TurnID) error {
	if t.turns[turn] {
		return nil
	}
	t.turns[turn] = true
	at, err := t.reader.Resolve(ctx, turn.Agent(), events.Moment{Form: events.MomentTurn, Turn: turn.Number()})
	if err != nil {
		if isMissing(err) {
			return nil
		}
		return err
	}
	s, err := t.reader.seeker(ctx, events.AgentStream(turn.Agent()))
	if err != nil {
		return err
	}
	var request events.RequestID // of the settlement
	return s.each(ctx, at.First, min(s.last, at.Revision+settledWithin), func(e *events.Envelope) (bool, error) {
		if e.Kind == (events.SettlementRequested{}).Kind() && e.Correlation == string(turn) {
			request = events.RequestID(e.Ref())
		}
		t.add(e)
		settled := false
		if e.Kind == (events.SettlementRecorded{}).Kind() {
			if event, err := e.Event(); err == nil {
				recorded, _ := event.(events.SettlementRecorded) //nolint:errcheck // the zero value answers no request
				settled = request != "" && recorded.Request == request
			}
		}
		return t.read < mostTold && (e.Revision <= at.Revision || !settled), nil
	})
}

// takenIn finds the turn that takes in a message that had to wait.
func (t *tracer) takenIn(ctx context.Context, e *events.Envelope, id events.MessageID) error {
	for _, other := range t.graph.Together(e.Ref()) {
		if slices.Contains(runs.MessagesTaken(other), id) {
			return t.turn(ctx, events.TurnID(other.Correlation))
		}
	}
	s, err := t.reader.seeker(ctx, e.Stream)
	if err != nil {
		return err
	}
	var taker *events.Envelope
	err = s.each(ctx, e.Revision+1, min(s.last, e.Revision+mostWaiting), func(later *events.Envelope) (bool, error) {
		if slices.Contains(runs.MessagesTaken(later), id) {
			taker = later
		}
		return taker == nil, nil
	})
	if err != nil || taker == nil {
		return err
	}
	if _, err := t.load(ctx, taker.Ref()); err != nil {
		return err
	}
	return t.turn(ctx, events.TurnID(taker.Correlation))
}

// answeredIn adds the answer to an event in another stream.
func (t *tracer) answeredIn(ctx context.Context, stream events.Stream, e *events.Envelope) error {
	found, err := t.after(ctx, stream, e.Position, func(answer *events.Envelope) bool { return answer.Causation == e.Ref() })
	if err != nil || found == "" {
		return err
	}
	_, err = t.load(ctx, found)
	return err
}

// commandCategory is that of the streams in which commands are published.
const commandCategory = "command"

// followPublished adds what became of a command on the bus: the decision that carried it out, and the reply.
func (t *tracer) followPublished(ctx context.Context, e *events.Envelope) error {
	_, tenant := e.Stream.Split()
	if err := t.answeredIn(ctx, events.Stream("reply-"+tenant), e); err != nil {
		return err
	}
	var addressed struct {
		Agent  events.AgentID  `json:"agent"`
		Wallet events.WalletID `json:"wallet"`
	}
	var stream events.Stream
	switch err := json.Unmarshal(e.Data, &addressed); {
	case err == nil && addressed.Agent != "":
		stream = events.AgentStream(addressed.Agent)
	case err == nil && addressed.Wallet != "":
		stream = events.WalletStream(addressed.Wallet)
	default:
		return nil // it cannot be carried out
	}
	id := publishedID(e)
	found, err := t.after(ctx, stream, e.Position, func(decided *events.Envelope) bool { return decided.Command == id })
	if err != nil || found == "" {
		return err
	}
	if _, err := t.load(ctx, found); err != nil {
		return err
	}
	t.graph.Because(e.Ref(), found)
	return nil
}
