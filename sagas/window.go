package sagas

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"example.com/life/events"
)

// minRoom is the least conversation, in tokens, with which it makes sense to ask; minShare the least of a text, in bytes.
const (
	minRoom  = 256
	minShare = 400
)

// learnt is what the window of a model is known to hold from a failure, in tokens of the conversation; 0: that is not known.
func (a *Agent) learnt(model string) int64 {
	if a.Window.Model == model {
		return a.Window.Room
	}
	if a.Turn.ByWindow {
		for _, w := range a.Windows {
			if w.Model == model {
				return w.Room
			}
		}
	}
	return 0
}

// learn notes what a failure told of a window.
func (a *Agent) learn(w Window) {
	before := a.Window
	if a.Window = w; before.Room == 0 || before.Model == w.Model {
		return
	}
	others := without(a.Windows, func(o Window) bool { return o.Model == w.Model || o.Model == before.Model })
	a.Windows = append([]Window{before}, others[:min(len(others), MaxCandidates)]...)
}

// narrow reports whether the window of the turn's model is known from a failure.
func (a *Agent) narrow() bool { return a.learnt(a.Turn.model()) > 0 }

// room is how many bytes of the conversation are sent: what the configuration allows, or what the model's window is known to hold.
func (a *Agent) room() int64 {
	tokens := a.Turn.Limits.ContextTokens
	if known := a.learnt(a.Turn.model()); known > 0 {
		tokens = min(tokens, known)
	}
	return tokens * bytesPerToken
}

// excerpt is what is sent of a conversation.
type excerpt struct {
	messages  []Message // what stands for messages that were compacted, and the newest; where all fit, the conversation's own list
	dropped   int       // older ones that are left out
	shortened int       // of which only a part is sent
}

// fitted is what of a conversation fits the window. Texts are shortened only where the model's window is known to be too small for them: else
// the provider decides.
func (a *Agent) fitted(c *Conversation) (f excerpt) {
	room := a.room()
	if c.size() <= room {
		f.messages = c.sent()
		return f
	}
	f.messages, f.dropped = c.window(max(room-c.headSize(), room/2))
	if c.Summary != nil {
		f.messages = append(slices.Clip(c.sent()[:1]), f.messages...)
	}
	if a.narrow() {
		f.messages, f.shortened = shorten(f.messages, room)
	}
	return f
}

// shorten cuts the longest texts so that all messages together have at most that size, or nearly so. It leaves the conversation's own
// messages as they are.
func shorten(messages []Message, size int64) ([]Message, int) {
	share := fairShare(messages, size)
	if share < 0 {
		return messages, 0
	}
	messages, shortened := slices.Clone(messages), 0
	for i := range messages {
		if text := messages[i].Text; text.Size() > share {
			messages[i].Text = events.Text{Inline: middleOut(text, int(share))}
			messages[i].Blocks = oneText(messages[i].Blocks, len(messages[i].Text.Inline))
			shortened++
		}
	}
	return messages, shortened
}

// oneText is a layout in which the text has changed: all of it stands where its first part stood.
func oneText(blocks []events.Block, size int) []events.Block {
	var kept []events.Block
	for i := range blocks {
		block := blocks[i]
		if block.Kind == events.BlockText {
			if size == 0 {
				continue
			}
			block.Bytes, block.Raw, size = size, nil, 0
		}
		kept = append(kept, block)
	}
	return kept
}

// fairShare is the most that one text may have so that all fit; -1 when they fit as they are.
func fairShare(messages []Message, size int64) int64 {
	sizes, fixed := make([]int64, len(messages)), int64(0)
	for i := range messages {
		sizes[i] = messages[i].Text.Size()
		fixed += messageSize(&messages[i]) - sizes[i]
	}
	left, total := size-fixed, int64(0)
	for _, s := range sizes {
		total += s
	}
	if total <= left {
		return -1
	}
	slices.Sort(sizes)
	for i, s := range sizes { // the short ones stay whole, the others share what is left
		share := left / int64(len(sizes)-i)
		if s > share {
			return max(share, minShare)
		}
		left -= s
	}
	return -1
}

// middleOut keeps the beginning and the end of a text, in about that many bytes, and says how much is left out. Of a text in a blob its
// preview is kept.
func middleOut(text events.Text, most int) string {
	const about = 150 // bytes of the remark
	head, tail := text.Inline, ""
	if keep := max(most-about, minShare/4); len(head) > keep {
		head = events.Cut(text.Inline, keep*2/3)
		if text.Blob == nil {
			from := len(text.Inline) - keep/3
			for from < len(text.Inline) && !utf8.RuneStart(text.Inline[from]) {
				from++
			}
			tail = text.Inline[from:]
		}
	}
	left := text.Size() - int64(len(head)+len(tail))
	return strings.TrimRight(head, "\n") + fmt.Sprintf(
		"\n[… %d of %d bytes are left out here, because the model's window is too small for them. What is needed of them can be read again in parts. …]\n",
		left, text.Size()) + tail
}

// roomAfter is how much conversation is sent after the model's window was found to be too small: what the failure tells, and in any case
// less than was sent. 0: asking again cannot help.
func (a *Agent) roomAfter(told int64) int64 {
	f := a.fitted(&a.Conversation)
	sent := int64(0)
	for i := range f.messages {
		sent += messageSize(&f.messages[i])
	}
	room := min(told, sent/bytesPerToken*3/4)
	if room < minRoom {
		return 0
	}
	return room
}
