package transfer

import (
	"errors"
	"testing"

	"github.com/google/uuid"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

// TestCopyNamesADifference: a target that is not what was copied is found, whatever is different.
func TestCopyNamesADifference(t *testing.T) {
	into := &appending{}
	of := func(all []events.Envelope) *contents {
		c := newContents()
		for i := range all {
			c.add(&all[i], into)
		}
		return c
	}
	all := placed(foreignEvents())
	for name, change := range map[string]func(all []events.Envelope) []events.Envelope{
		"nothing":        func(all []events.Envelope) []events.Envelope { return all },
		"id":             func(all []events.Envelope) []events.Envelope { all[1].ID = uuid.New(); return all },
		"data":           func(all []events.Envelope) []events.Envelope { all[1].Data = []byte(`{ "a" : 1 }`); return all },
		"kind":           func(all []events.Envelope) []events.Envelope { all[2].Kind = "picture"; return all },
		"order":          func(all []events.Envelope) []events.Envelope { all[0], all[1] = all[1], all[0]; return all },
		"foreign":        func(all []events.Envelope) []events.Envelope { all[1].Foreign = &events.Foreign{}; return all },
		"missing":        func(all []events.Envelope) []events.Envelope { return append(all[:1:1], all[2:]...) },
		"stream":         func(all []events.Envelope) []events.Envelope { all[3].Stream = "orders-3"; return all },
		"stream's rules": func(all []events.Envelope) []events.Envelope { all[4].Data = []byte(`{"$maxCount":6}`); return all },
		"not ended":      func(all []events.Envelope) []events.Envelope { return all[:5] },
	} {
		changed := change(append([]events.Envelope(nil), all...))
		err := of(all).compare(of(changed))
		if (err == nil) != (name == "nothing") || err != nil && !errors.Is(err, storage.ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
