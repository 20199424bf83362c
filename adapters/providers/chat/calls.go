package chat

import (
	"fmt"
	"strings"

	"github.com/openai/openai-go/v3"

	"example.com/life/actors"
	"example.com/life/adapters/providers/endpoint"
	"example.com/life/events"
)

// callParts is a call in the making.
type callParts struct {
	index     int64 // as the provider numbers it; -1 if it does not
	id        string
	tool      string
	arguments endpoint.Written
	split     endpoint.Joiner
	extra     extras
	shown     *endpoint.ShownCall
}

// whole reports whether the arguments that came are a JSON object: then no piece can belong to them any more.
func (c *callParts) whole() bool { return c.arguments.Whole() }

type callPiece = openai.ChatCompletionChunkChoiceDeltaToolCall

func (r *reply) addCall(piece *callPiece) {
	written := pieceArguments(piece)
	call, again := r.callOf(piece, written)
	if again {
		return
	}
	if call == nil {
		if len(r.calls) == endpoint.MaxCalls {
			r.err = fmt.Errorf("the reply makes more than %d calls", endpoint.MaxCalls)
			return
		}
		call = &callParts{index: -1, shown: r.showing.Begin(r.layout.call)}
		if piece.JSON.Index.Valid() {
			call.index = piece.Index
		}
		r.calls = append(r.calls, call)
	}
	if call.id == "" {
		call.id = piece.ID
	}
	if name := piece.Function.Name; name != call.tool { // some repeat the name in every piece
		call.tool += name
	}
	if call.arguments.String() == "{}" && strings.HasPrefix(written, "{") { // some begin with that and mean nothing
		call.arguments = endpoint.Written{}
	}
	raw := ""
	if strings.HasPrefix(piece.Function.JSON.Arguments.Raw(), `"`) {
		raw = piece.Function.JSON.Arguments.Raw()
	}
	call.arguments.Write(call.split.Next(written, raw))
	call.extra.addFields(piece.JSON.ExtraFields)
	r.show(call, false)
}

// show passes on what came of a call. over: no more will come.
func (r *reply) show(call *callParts, over bool) {
	arguments := call.arguments.String()
	if nothing := arguments == "{}"; over || !nothing && (arguments != "" || r.offered(call.tool)) { // else its name, or what stands in its place, may go on
		call.shown.Tool, call.shown.Arguments = call.tool, arguments
	}
	call.shown.Whole = call.whole() && (over || arguments != "{}")
	if over && !call.shown.Whole {
		call.shown.Torn = r.ending.Stop == events.StopLength
		call.shown.Whole = !call.shown.Torn
	}
	r.showing.Pass()
}

// pieceArguments are a piece's arguments; some send the object itself instead of a string that holds it.
func pieceArguments(piece *callPiece) string {
	raw := piece.Function.JSON.Arguments.Raw()
	if strings.HasPrefix(raw, "{") {
		return raw
	}
	return piece.Function.Arguments
}

// callOf finds the call that a piece goes on with; nil: it begins a new one. again: it is the same piece once more.
//
// Endpoints number all calls alike or none, and give all the same id, none, or another one in each piece. Only a first piece must have a
// name. So what tells calls apart is, before all, that a call is whole: then a name begins another one.
func (r *reply) callOf(piece *callPiece, written string) (call *callParts, again bool) {
	for i := len(r.calls) - 1; i >= 0; i-- {
		call := r.calls[i]
		numbered, same := piece.JSON.Index.Valid(), piece.ID != "" && piece.ID == call.id
		other := piece.ID != "" && call.id != "" && !same
		if numbered && call.index != piece.Index && (!same || piece.Function.Name != "") {
			continue
		}
		if !numbered && other {
			continue
		}
		if call.whole() && piece.Function.Name == call.tool && !other && (numbered || same) && (written == "" || written == call.arguments.String()) {
			return call, true
		}
		if r.goesOn(call, piece, written, other) {
			return call, false
		}
		return nil, false
	}
	return nil, false
}

// goesOn reports whether a piece belongs to a call, and does not begin another one.
func (r *reply) goesOn(call *callParts, piece *callPiece, written string, other bool) bool {
	name, begun := piece.Function.Name, call.arguments.Len() > 0
	switch {
	case name == "":
		return true
	case call.whole():
		return false
	case name != call.tool: // sent in two pieces, or another tool's
		return !begun && !other && (!r.offered(call.tool) || !r.offered(name))
	case begun:
		return true // the name is repeated in every piece
	case piece.ID == "" && !piece.JSON.Index.Valid():
		return false
	case other:
		return written != "" // some give each piece another id
	}
	return true
}

// offered reports whether there is a tool of that name.
func (r *reply) offered(name string) bool {
	for i := range r.question.Tools {
		if r.question.Tools[i].Name == name {
			return true
		}
	}
	return false
}

// toCalls gives the calls, each with an id of its own. Where the reply was cut off the last one is, whatever its arguments look like, and
// so is every other one that is not whole.
func (r *reply) toCalls(cut bool) ([]events.ModelCall, error) {
	var calls []events.ModelCall
	taken := map[string]bool{}
	for i, call := range r.calls {
		if call.tool == "" {
			return nil, &actors.ModelError{Class: events.ErrorTruncated, Detail: fmt.Sprintf("call %d of the reply names no tool", i+1)}
		}
		if call.id == "" || taken[call.id] { // unique in the conversation, which only grows
			call.id = fmt.Sprintf("call-%d-%d", len(r.question.Messages), i+1)
		}
		taken[call.id] = true
		written := strings.ToValidUTF8(call.arguments.String(), "\uFFFD")
		calls = append(calls, events.ModelCall{
			ID: call.id, Tool: call.tool, Arguments: endpoint.Arguments(written),
			Cut: cut && (i == len(r.calls)-1 || !endpoint.IsObject(written)),
		})
	}
	return calls, nil
}
