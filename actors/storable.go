package actors

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/sagas"
)

// What a model replies is of any size, and the decision on it holds the calls twice: as the reply's, and as requests to tools. It is made
// small before it is decided: large arguments go to the blob store, and a reply with more calls than one append holds is recorded without
// them, which ends its turn. If we die before it is stored, blobs are left that nothing refers to; they do no harm.
const (
	decisionMost  = 600 << 10 // bytes of a decision on a reply; every store takes more
	argumentsMost = 128 << 10 // bytes of the arguments of all calls, as long as none is large; beyond, those that are not small are blobs
	callOverhead  = 1 << 10   // what the events of one call take besides, about
)

// large reports whether a reply may have to be made small to be stored. Few have.
func large(reply *ModelResponse) bool {
	size := len(reply.Text) + len(reply.Model)
	for i := range reply.Calls {
		size += len(reply.Calls[i].ID) + len(reply.Calls[i].Tool) + len(reply.Calls[i].Arguments)
	}
	return size > events.InlineLimit || len(reply.Calls) > 16 || reply.Extra != ""
}

// storable fills in what a decision on a reply holds of it. It may be called again after an error: contents are stored once.
func (h *Host) storable(ctx context.Context, c *sagas.RecordReply, reply *ModelResponse, tools []string) error {
	text, err := h.spill(ctx, reply.Text)
	if err != nil {
		return err
	}
	if reply.Extra != "" {
		extra, err := h.spill(ctx, reply.Extra)
		if err != nil {
			return err
		}
		c.Extra = &extra
	}
	most, all := events.InlineLimit, 0
	for i := range reply.Calls {
		all += min(len(reply.Calls[i].Arguments), most)
	}
	if all > argumentsMost {
		most = events.PreviewLimit
	}
	refusal := len(strings.Join(tools, ", ")) // which a call of another tool is answered with
	size, calls := len(reply.Model), make([]events.ModelCall, len(reply.Calls))
	for i, call := range reply.Calls {
		calls[i] = call
		size += callOverhead + refusal + 2*len(call.ID) + 4*len(call.Tool) + 2*min(len(call.Arguments), most)
	}
	c.Text, c.Model = text, reply.Model
	if size > decisionMost {
		c.Model = events.Preview(c.Model)
		c.Withheld = fmt.Sprintf("it makes %d calls, about %d bytes of events, and at most %d are stored at once", len(calls), size, decisionMost)
		return nil
	}
	for i := range calls {
		if len(calls[i].Arguments) <= most {
			continue
		}
		whole := sagas.CanonicalArguments(calls[i].Arguments)
		ref, err := h.blobs.Put(ctx, "application/json", bytes.NewReader(whole))
		if err != nil {
			return fmt.Errorf("store arguments of %d bytes: %w", len(whole), err)
		}
		calls[i].Arguments, calls[i].Blob = sagas.PreviewArguments(whole), &ref
	}
	if len(calls) > 0 {
		c.Calls = calls
	}
	return nil
}

// unstorable is what is recorded in place of an answer that the store refuses for good.
func unstorable(command sagas.Command, err error) sagas.Command {
	reason := events.Preview(err.Error())
	switch c := command.(type) {
	case sagas.RecordReply:
		c.Calls, c.Extra, c.Fault, c.Withheld = nil, nil, "", "the store refuses it: "+reason
		c.Text.Inline, c.Model = events.Preview(c.Text.Inline), events.Preview(c.Model)
		return c
	case sagas.ReplyFailed:
		c.Detail = events.Clip(c.Detail, 256) + "; the store refuses the whole reason: " + reason
		return c
	case sagas.RecordResult:
		c.Failed = true
		c.Text = events.Text{Inline: "the call ended, and the store refuses its result: " + reason}
		return c
	}
	return nil
}

// answerSize is what an answer takes in memory, about.
func answerSize(command sagas.Command) int {
	size := 512
	switch c := command.(type) {
	case sagas.RecordReply:
		size += len(c.Text.Inline)
		for i := range c.Calls {
			size += 256 + len(c.Calls[i].Arguments)
		}
	case sagas.ReplyFailed:
		size += len(c.Detail)
	case sagas.RecordResult:
		size += len(c.Text.Inline)
	}
	return size
}

// mostAppend is what the host's journal takes at once.
func mostAppend(journal storage.Journal) int {
	if bounded, ok := journal.(storage.Bounded); ok {
		return min(bounded.MaxAppend(), storage.MaxAppend)
	}
	return storage.MaxAppend
}
