package stores

import (
	"math"
	"strings"
	"testing"

	"github.com/google/uuid"

	"example.com/life/adapters/api"
	"example.com/life/events"
)

// TestRemoteCheckNamesDamage: what can be seen of a store from outside is seen.
func TestRemoteCheckNamesDamage(t *testing.T) {
	chain := func() (all []events.Envelope) {
		digest := events.Digest{}
		for i := range 3 {
			data := []byte(`{}`)
			digest = digest.Next(events.Kind("bench.measured"), data)
			all = append(all, events.Envelope{Stream: "s", Kind: events.Kind("bench.measured"), Version: 1, ID: uuid.New(), Revision: events.Revision(i), Position: events.Position(i + 1), Digest: digest, Data: data})
		}
		return all
	}
	for want, change := range map[string]func(all []events.Envelope) []events.Envelope{
		"":                          func(all []events.Envelope) []events.Envelope { return all },
		"the digest does not match": func(all []events.Envelope) []events.Envelope { all[1].Data = []byte(`{ }`); return all },
		"it follows revision 0":     func(all []events.Envelope) []events.Envelope { return append(all[:1:1], all[2]) },
		"it comes after position":   func(all []events.Envelope) []events.Envelope { all[2].Position = 2; return all },
		"it comes after revision":   func(all []events.Envelope) []events.Envelope { return append(all, all[2]) },
		"it has no id":              func(all []events.Envelope) []events.Envelope { all[0].ID = events.EventID{}; return all },
		"was permanently deleted": func(all []events.Envelope) []events.Envelope {
			all[1].Kind, all[1].Revision = TombstoneKind, math.MaxInt64
			return all
		},
		"it follows revision -1": func(all []events.Envelope) []events.Envelope { return all[1:] },
	} {
		c := &remoteCheck{streams: map[events.Stream]*streamEnd{}, report: api.StoreReport{}}
		all := change(chain())
		for i := range all {
			c.event(&all[i])
		}
		found := false
		for _, d := range c.report.Damage {
			found = found || strings.Contains(d.Problem, want)
		}
		if found != (want != "") {
			t.Errorf("%q: %+v", want, c.report.Damage)
		}
	}
}
