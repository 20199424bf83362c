package cluster_test

import (
	"encoding/json"
	"reflect"
	"testing"

	"example.com/life/events"
	"example.com/life/sagas"
	"example.com/life/sagas/cluster"
)

// FuzzView folds whatever a stream may hold, one event for each line, and decides with whatever a host may say: nothing panics, a view that was
// handed out does not change, and what is decided is recalled.
func FuzzView(f *testing.F) {
	f.Add("host.joined", []byte(`{"name":"a","peer":"a:1","weight":1,"build":"b","protocol":{"oldest":1,"newest":1},"fence_us":"5000000","silent_us":"1000000"}`), "a#0", "agent-a")
	f.Add("host.removed", []byte(`{"host":"a#0","by":"b#1","because":"silent","confirmed_by":["c#2"]}`), "a#0", "wallet-a")
	f.Add("host.draining", []byte(`{"host":"a#0"}`), "a#-1", "")
	f.Add("placement.pinned", []byte(`{"stream":"agent-a","to":[{"name":"zone","value":"eu"},{"name":"host","value":"a"}]}`), "a#00", "agent-")
	f.Add("placement.unpinned", []byte(`{"stream":"agent-a"}`), "#", "-")
	f.Add("host.left", []byte(`{"host":"a#9223372036854775808"}`), "a", "cluster-c")
	f.Fuzz(func(t *testing.T, kind string, data []byte, host, stream string) {
		event, err := events.Decode(events.Kind(kind), 1, data)
		if err != nil {
			return
		}
		v := viewOf(member("a", "x", 1), member("b", "y", 0), member("c", "", 3))
		before, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		next := v.Apply(sagas.Fact{Event: event, Revision: 3, Command: "c"})
		if after, err := json.Marshal(v); err != nil || string(after) != string(before) {
			t.Fatalf("%s became %s, %v", before, after, err)
		}
		id := events.HostID(host)
		if id.Name() != "" && events.NewHostID(id.Name(), id.Joined()) != id || id.Name() == "" && id.Joined() != events.NoRevision {
			t.Fatalf("%q is host %q, joined at %d", id, id.Name(), id.Joined())
		}
		owner, ok := next.Owner(events.Stream(stream))
		if ranked := next.Ranked(events.Stream(stream)); ok != (len(ranked) > 0) || ok && ranked[0] != owner {
			t.Fatalf("the owner is %q, ranked are %v", owner, ranked)
		}
		if command, err := v.Recall([]sagas.Fact{{Event: event, Revision: 3, Command: "c"}}); err == nil {
			if decided, err := v.Decide(command); err == nil {
				again, err := v.Recall([]sagas.Fact{{Event: decided[0], Revision: 3, Command: "c"}})
				if err != nil && len(decided) == 1 {
					t.Fatalf("%v is decided, and not recalled: %v", decided, err)
				}
				if repeated, err := v.Decide(again); len(decided) == 1 && (err != nil || !reflect.DeepEqual(repeated, decided)) {
					t.Fatalf("%v is decided, and again %v, %v", decided, repeated, err)
				}
			}
		}
		for _, command := range []sagas.Command{
			cluster.Drain{Host: id},
			cluster.Leave{Host: id},
			cluster.Remove{Host: id, By: "a#0", Because: events.RemovedSilent, Detail: stream},
			cluster.Pin{Stream: events.Stream(stream), To: []events.Label{{Name: host, Value: kind}}},
			cluster.Unpin{Stream: events.Stream(stream)},
		} {
			if decided, err := next.Decide(command); err == nil {
				_ = next.Apply(sagas.Fact{Event: decided[0], Revision: 4}).Ranked(events.Stream(stream))
			}
		}
	})
}
