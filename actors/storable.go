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
	blocksMost    = 128 << 10 // bytes of all blocks of which none is large; beyond, those that are not small are blobs
	blockOverhead = 256       // what one block takes besides, about
)

// large reports whether a reply may have to be made small to be stored. Few have.
func large(reply *ModelResponse) bool {
	size := len(reply.Text) + len(reply.Model)
	for i := range reply.Calls {
		size += len(reply.Calls[i].ID) + len(reply.Calls[i].Tool) + len(reply.Calls[i].Arguments)
	}
	return size > events.InlineLimit || len(reply.Calls) > 16 || len(reply.Blocks) > 0
}

// storable fills in what a decision on a reply holds of it. It may be called again after an error: contents are stored once.
func (h *Host) storable(ctx context.Context, c *sagas.RecordReply, reply *ModelResponse, tools []string) error {
	text, err := h.spill(ctx, reply.Text)
	if err != nil {
		return err
	}
	blocks, size, err := h.storableBlocks(ctx, reply.Blocks)
	if err != nil {
		return err
	}
	most, all := events.InlineLimit, 0
	for i := range reply.Calls {
		all += min(len(reply.Calls[i].Arguments), most)
	}
	if all > argumentsMost {
		most = events.PreviewLimit
	}
	refusal := len(strings.Join(tools, ", ")) // which a call of another tool is answered with
	size, calls := size+len(reply.Model), make([]events.ModelCall, len(reply.Calls))
	for i, call := range reply.Calls {
		calls[i] = call
		size += callOverhead + refusal + 2*len(call.ID) + 4*len(call.Tool) + 2*min(len(call.Arguments), most)
	}
	c.Text, c.Model, c.Blocks = text, reply.Model, blocks
	if size > decisionMost {
		c.Model, c.Blocks = events.Preview(c.Model), nil
		c.Withheld = fmt.Sprintf("it makes %d calls and has %d blocks, about %d bytes of events, and at most %d are stored at once", len(calls), len(blocks), size, decisionMost)
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

// storableBlocks is a reply's layout as events hold it, and about how many bytes that takes.
func (h *Host) storableBlocks(ctx context.Context, blocks []Block) (stored []events.Block, size int, err error) {
	most, all := events.InlineLimit, 0
	for i := range blocks {
		all += len(blocks[i].Text) + len(blocks[i].Raw)
	}
	if all > blocksMost {
		most = events.PreviewLimit
	}
	for _, block := range blocks {
		b := events.Block{Kind: block.Kind, Bytes: block.Bytes}
		if block.Text != "" {
			if b.Text, err = h.spillOver(ctx, most, block.Text, "text/plain; charset=utf-8"); err != nil {
				return nil, 0, err
			}
			size += 2 * len(b.Text.Inline)
		}
		if block.Raw != "" {
			if b.Raw, err = h.spillOver(ctx, most, block.Raw, "application/json"); err != nil {
				return nil, 0, err
			}
			size += 2 * len(b.Raw.Inline)
		}
		size += blockOverhead
		stored = append(stored, b)
	}
	return stored, size, nil
}

// unstorable is what is recorded in place of an answer that the store refuses for good.
func unstorable(command sagas.Command, err error) sagas.Command {
	reason := events.Preview(err.Error())
	switch c := command.(type) {
	case sagas.RecordReply:
		c.Calls, c.Blocks, c.Fault, c.Withheld = nil, nil, "", "the store refuses it: "+reason
		c.Text.Inline, c.Model = events.Preview(c.Text.Inline), events.Preview(c.Model)
		return c
	case sagas.ReplyFailed:
		c.Detail = events.Clip(c.Detail, 256) + "; the store refuses the whole reason: " + reason
		return c
	case sagas.RecordResult:
		c.Failed = true
		c.Text = events.Text{Inline: "the call ended, and the store refuses its result: " + reason}
		return c
	case sagas.RecordQuestion:
		return sagas.RecordResult{
			Meta: c.Meta, Request: c.Request, Call: c.Call, Failed: true, Text: events.Text{Inline: "the store refuses what the call asks: " + reason},
		}
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
		for i := range c.Blocks {
			size += blockOverhead
			for _, text := range []*events.Text{c.Blocks[i].Text, c.Blocks[i].Raw} {
				if text != nil {
					size += len(text.Inline)
				}
			}
		}
	case sagas.ReplyFailed:
		size += len(c.Detail)
	case sagas.RecordResult:
		size += len(c.Text.Inline)
	case sagas.RecordQuestion:
		size += len(c.Text)
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
