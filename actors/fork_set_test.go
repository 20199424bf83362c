package actors_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"example.com/life/actors"
	"example.com/life/events"
	"example.com/life/sagas"
)

// TestForkSettings sets each key once, and each once as it must not be.
func TestForkSettings(t *testing.T) {
	w := newForkWorld(t)
	host := start(t, w.config)
	good := map[string]string{
		"model": "fake/three", "prompt": "x=y", "tools": "none", "tenant": "other", "rules": `[{"name":"r","measure":"risk","at_least":1,"mode":"verify"}]`,
		"policy": `{"deny":["echo"]}`, "policy.ask": "*", "policy.deny": "echo", "policy.on_lost": "tell", "policy.on_limit": "end",
		"limits.money": "0.25", "limits.reserve": "0.05", "limits.time": "10m", "limits.approval_time": "1h",
	}
	bad := map[string]string{
		"model": "", "tools": "saw", "tenant": "A B", "rules": "{}", "policy": `{"asks":[]}`, "policy.ask": "saw", "policy.deny": "saw",
		"policy.on_lost": "shrug", "policy.on_limit": "shrug", "limits.money": "much", "limits.reserve": "-1", "limits.time": "10",
		"limits.approval_time": "x",
	}
	keys, about := actors.SettingKeys()
	for i, key := range keys {
		value, given := good[key]
		if !given {
			value, bad[key] = "7", "seven"
		}
		o := order(events.NoRevision, key+"="+value)
		o.ID, o.Name, o.Turns = events.CommandID("good-"+key), events.AgentID("f-"+strings.NewReplacer(".", "-").Replace(key)), actors.NoTurns
		forked, err := host.Fork(t.Context(), o, actors.Origin{Actor: "test"})
		if err != nil || about[i] == "" {
			t.Errorf("%s=%s (%s): %v", key, value, about[i], err)
			continue
		}
		state, err := host.State(t.Context(), forked.Agent, 0)
		part, _, _ := strings.Cut(key, ".")
		if key == "rules" {
			part = "tenant"
		}
		if err != nil || !reflect.DeepEqual(state.Agent.Fork.Changed, []string{part}) {
			t.Errorf("%s=%s changed %v, %v", key, value, state.Agent.Fork.Changed, err)
		}
		wrong, given := bad[key]
		if !given {
			continue
		}
		o.ID, o.Name, o.Set = o.ID+"-bad", o.Name+"-bad", []string{key + "=" + wrong}
		var refusal *sagas.RefusalError
		if _, err := host.Fork(t.Context(), o, actors.Origin{}); !errors.As(err, &refusal) || refusal.Code != sagas.RefusedInvalid {
			t.Errorf("%s=%s: %v", key, wrong, err)
		}
		if _, err := host.State(t.Context(), o.Name, events.NoRevision); err == nil {
			t.Errorf("%s=%s made an agent", key, wrong)
		}
	}
}

// FuzzReadRules: whatever a rule file holds, it is read or refused; what was read is read again from what it is written as.
func FuzzReadRules(f *testing.F) {
	f.Add(`[{"name":"r","measure":"risk","at_least":1,"mode":"verify"}]`)
	f.Add(`{"rules":[{"name":"r","measure":"risk","at_most":-1e300,"mode":"sleep"}]} `)
	f.Add(`[null]`)
	f.Add(`{"rules":`)
	f.Fuzz(func(t *testing.T, text string) {
		rules, err := actors.ReadRules([]byte(text))
		if err != nil {
			return
		}
		again, err := json.Marshal(rules)
		if err != nil {
			t.Fatalf("%v cannot be written: %v", rules, err)
		}
		if read, err := actors.ReadRules(again); err != nil || !reflect.DeepEqual(read, rules) {
			t.Errorf("read %v, written %s, read again %v, %v", rules, again, read, err)
		}
	})
}
