// Command hello is life with one projection more: how many messages there were, and whose was the latest.
package main

import (
	"encoding/json"

	"example.com/life/cmd"
	"example.com/life/events"
	"example.com/life/projections"
)

type hello struct { // what is kept, and what is answered
	Messages int    `json:"messages"`
	Latest   string `json:"latest"`
}

func (h *hello) Apply(r *projections.Recorded) error {
	event, err := r.Outline()
	if received, is := event.(events.MessageReceived); is {
		h.Messages, h.Latest = h.Messages+1, received.From
	}
	return err
}

func (h *hello) Answer(projections.Query) (any, error) { return *h, nil }
func (h *hello) Save() ([]byte, error)                 { return json.Marshal(h) }
func (h *hello) Restore(state []byte) error            { return json.Unmarshal(state, h) }

func main() {
	cmd.Main(cmd.Config{Version: "hello", Projections: []projections.Spec{{
		Name: "hello", Version: 1, Description: "messages to agents", Kinds: []string{"message.received"}, New: func() projections.Fold { return &hello{} },
		Queries: []projections.QuerySpec{{Name: "messages", Description: "how many there were, and whose was the latest", Answer: hello{}}},
	}}})
}
