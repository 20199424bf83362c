package actors_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"example.com/life/actors"
	"example.com/life/actors/actorstest"
	"example.com/life/events"
	"example.com/life/sagas"
)

// chatty thinks and speaks in pieces. Every fourth time it is asked, it breaks off then.
func chatty() actorstest.FakeModel {
	var asked atomic.Int64
	return func(_ context.Context, _ actors.ModelRequest, delta func(actors.Delta)) (actors.ModelResponse, error) {
		const thought, text = "I think about it.", "It is so, and that is all there is to it."
		for block, whole := range []string{thought, text} {
			offset, kind := 0, []events.BlockKind{events.BlockThinking, events.BlockText}[block]
			for word := range strings.SplitAfterSeq(whole, " ") {
				delta(actors.Delta{Block: block, Kind: kind, Offset: offset, Text: word})
				offset += len(word)
			}
		}
		if asked.Add(1)%4 == 0 {
			return actors.ModelResponse{}, &actors.ModelError{Class: events.ErrorInvalid, Detail: "broke off"}
		}
		return actors.ModelResponse{
			Text: text, Stop: events.StopEnd, Usage: events.Usage{Input: 1, Output: 1},
			Blocks: []actors.Block{{Kind: events.BlockThinking, Text: thought, Raw: `{"signature":"EqQB"}`}, {Kind: events.BlockText, Bytes: len(text)}},
		}, nil
	}
}

// watched checks the order of a feed: pieces stand between the event of their request and that of its reply, in order and without gaps, and
// what streamed of an attempt that failed is void.
type watched struct {
	open   events.RequestID
	blocks map[int]string
	void   bool
	wrong  []string
	pieces int
}

func (w *watched) wrongly(format string, args ...any) {
	w.wrong = append(w.wrong, fmt.Sprintf(format, args...))
}

func (w *watched) item(t *testing.T, item actors.Item) (over bool) {
	t.Helper()
	if d := item.Delta; d != nil {
		switch {
		case d.Request != w.open:
			w.wrongly("a piece of %s came while %q was open: %+v", d.Request, w.open, d)
		case d.Void:
			w.void = true
		case d.Lost || d.Offset != len(w.blocks[d.Block]):
			w.wrongly("%+v came after %q", d, w.blocks[d.Block])
		}
		w.pieces++
		w.blocks[d.Block] += d.Text
		return false
	}
	event, err := item.Event.Event()
	if err != nil {
		t.Fatal(err)
	}
	switch e := event.(type) {
	case events.ModelRequested:
		w.open, w.blocks, w.void = events.RequestID(item.Event.Ref()), map[int]string{}, false
	case events.ModelReplied:
		if w.blocks[1] != e.Inline || w.blocks[0] != e.Blocks[0].Text.Inline || w.void {
			w.wrongly("the reply %s came after the pieces %v, void: %v", e.Request, w.blocks, w.void)
		}
		w.open = ""
	case events.ModelFailed:
		if !w.void {
			w.wrongly("%s failed, and its pieces are not void", e.Request)
		}
		w.open = ""
	case events.TurnEnded:
		return true
	}
	return false
}

// TestFeedOrder: the feed gives pieces in order with the events that they belong to, over many turns of several agents at once.
func TestFeedOrder(t *testing.T) {
	const agents, turns = 4, 60
	memory := actorstest.NewMemory()
	host := start(t, actors.Config{Journal: memory, Snapshots: memory, Models: oneModel{chatty()}})
	var all sync.WaitGroup
	for n := range agents {
		agent := events.AgentID(fmt.Sprintf("demo%d", n))
		do(t, host, agent, create(agent))
		feed := watch(t, host, agent)
		all.Go(func() {
			w := watched{blocks: map[int]string{}}
			for turn := range turns {
				command := sagas.Send{Meta: meta(fmt.Sprintf("c%d", turn)), Verb: events.Followup, Text: events.Text{Inline: "go on"}}
				if _, err := host.Do(t.Context(), events.AgentStream(agent), command, actors.Origin{}); err != nil {
					t.Error(err)
					return
				}
				for over := false; !over; {
					item, err := feed.Next(t.Context())
					if err != nil {
						t.Error(err)
						return
					}
					over = w.item(t, item)
				}
			}
			if len(w.wrong) > 0 || w.pieces < turns*10 {
				t.Errorf("%s: of %d pieces, %d items are out of order, such as: %s", agent, w.pieces, len(w.wrong), events.Clip(strings.Join(w.wrong, "\n"), 1000))
			}
		})
	}
	all.Wait()
}
