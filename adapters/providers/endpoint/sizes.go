package endpoint

import (
	"example.com/life/actors"
	"example.com/life/sagas"
)

// TokensOf estimates the tokens of a text of so many bytes, rounded up.
func TokensOf(bytes int64) int64 { return (bytes + 3) / 4 }

// PerMessage is about what the template around a message takes, in bytes.
const PerMessage = 16

// Sizes are those of what is sent: of the conversation, and of what goes with every request. In bytes.
func Sizes(question *actors.ModelRequest) (conversation, fixed int64) {
	fixed = int64(len(question.System)) + PerMessage
	for i := range question.Tools {
		tool := &question.Tools[i]
		fixed += int64(len(tool.Name)+len(tool.Description)+len(tool.Schema)) + PerMessage
	}
	for i := range question.Messages {
		m := &question.Messages[i]
		conversation += int64(len(m.Text.Inline)) + PerMessage
		conversation += keptSize(m)
		for j := range m.Calls {
			conversation += int64(len(m.Calls[j].Tool)+len(m.Calls[j].Arguments)) + PerMessage
		}
	}
	return conversation, fixed
}

// keptSize is what is sent back of a message's blocks, in bytes.
func keptSize(m *sagas.Message) (size int64) {
	for i := range m.Blocks {
		if b := &m.Blocks[i]; b.Raw != nil {
			size += b.Raw.Size()
			if b.Text != nil {
				size += b.Text.Size()
			}
		}
	}
	return size
}
