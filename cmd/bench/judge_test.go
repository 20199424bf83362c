package bench

import (
	"testing"
	"time"

	"example.com/life/events"
)

// TestJudge tells stale effects from those that a host may have: the claim says which process began a call.
func TestJudge(t *testing.T) {
	const old, again, other = events.HostID("b#1"), events.HostID("b#4"), events.HostID("a#0")
	woken := time.UnixMicro(5_000_000)
	at := func(ms int64) time.Time { return time.UnixMicro(ms * 1000) }
	for name, test := range map[string]struct {
		lines  []line
		claims []events.HostID
		stale  int
	}{
		"before the stop":                                                        {[]line{{false, "1", at(10)}}, []events.HostID{old}, 0},
		"lost, and had again elsewhere":                                          {[]line{{false, "1", at(10)}, {true, "1", at(6200)}}, []events.HostID{old, other}, 0},
		"never begun, and had again elsewhere":                                   {[]line{{true, "1", at(6200)}}, []events.HostID{old, other}, 0},
		"by the host that came back as another":                                  {[]line{{false, "1", at(10)}, {true, "1", at(6200)}}, []events.HostID{old, again}, 0},
		"taken over before it was claimed":                                       {[]line{{false, "1", at(1300)}}, []events.HostID{other}, 0},
		"begun by the host that was woken":                                       {[]line{{false, "1", at(5100)}}, []events.HostID{old, other}, 1},
		"that, and again elsewhere":                                              {[]line{{false, "1", at(5100)}, {true, "1", at(6200)}}, []events.HostID{old, other}, 1},
		"after the agent was told it was lost":                                   {[]line{{true, "1", at(4000)}, {false, "1", at(4500)}}, []events.HostID{old, other}, 1},
		"one call twice":                                                         {[]line{{false, "1", at(10)}, {false, "1", at(1300)}}, []events.HostID{old}, 1},
		"claimed again by the host that was woken, not begun, and had elsewhere": {[]line{{true, "1", at(6200)}}, []events.HostID{old, old, other}, 0},
		"begun again by the host that was woken":                                 {[]line{{true, "1", at(5100)}}, []events.HostID{old, old}, 1},
		"by it and elsewhere":                                                    {[]line{{true, "1", at(5100)}, {true, "1", at(6200)}}, []events.HostID{old, old, other}, 1},
		"never claimed":                                                          {[]line{{false, "3", at(10)}}, []events.HostID{old}, 1},
		"two messages of which one call is late":                                 {[]line{{false, "1", at(10)}, {false, "2", at(5100)}}, []events.HostID{old}, 0},
	} {
		p := paused{}
		p.judge(test.lines, map[string][]events.HostID{"1": test.claims, "2": {other}}, old, woken)
		if p.stale != test.stale || p.effects != len(test.lines) {
			t.Errorf("%s: %+v", name, p)
		}
	}
}
