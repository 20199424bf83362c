package sagas

import (
	"bytes"
	"encoding/json"
)

// UnmarshalJSON restores an agent from a snapshot. json.Marshal writes "<" within arguments as an escape; they become the bytes
// again that were approved, so that a restored agent records and digests the same.
func (a *Agent) UnmarshalJSON(data []byte) error {
	type plain Agent
	if err := json.Unmarshal(data, (*plain)(a)); err != nil {
		return err
	}
	for i := range a.Turn.Calls {
		a.Turn.Calls[i].Arguments = restored(a.Turn.Calls[i].Arguments)
	}
	for i := range a.Conversation.Messages {
		calls := a.Conversation.Messages[i].Calls
		for j := range calls {
			calls[j].Arguments = restored(calls[j].Arguments)
		}
	}
	return nil
}

// restored undoes escapes that canonical arguments do not have.
func restored(arguments json.RawMessage) json.RawMessage {
	if !bytes.Contains(arguments, []byte(`\u00`)) {
		return arguments
	}
	return CanonicalArguments(arguments)
}
