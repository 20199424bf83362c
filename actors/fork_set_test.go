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
	w.config.Masker = wordMasker{}
	host := start(t, w.config)
	good := map[string]string{
		"model": "fake/three", "prompt": "x=y", "tools": "none", "tenant": "other", "rules": `[{"name":"r","measure":"risk","at_least":1,"mode":"verify"}]`,
		"policy": `{"deny":["echo"]}`, "policy.ask": "*", "policy.deny": "echo", "policy.on_lost": "tell", "policy.on_limit": "end",
		"limits.money": "0.25", "limits.reserve": "0.05", "limits.time": "10m", "limits.approval_time": "1h",
		"policy.mode": "plan", "policy.on_ask": "deny", "masking": "strict", "editor": "hashline", "skills": "user", "mcp": "none", "thinking.effort": "high", "compaction.mode": "drop", "compaction.at_percent": "50", "compaction.model": "fake/three", "secrets": "TOKEN",
	}
	bad := map[string]string{
		"model": "", "tools": "saw", "tenant": "A B", "rules": "{}", "policy": `{"asks":[]}`, "policy.ask": "saw", "policy.deny": "saw",
		"policy.on_lost": "shrug", "policy.on_limit": "shrug", "limits.money": "much", "limits.reserve": "-1", "limits.time": "10",
		"limits.approval_time": "x", "policy.mode": "seven", "policy.on_ask": "seven", "masking": "all", "editor": "vi", "skills": "7", "mcp": "seven", "thinking.effort": "much", "compaction.mode": "7", "compaction.at_percent": "7", "secrets": "UNKNOWN",
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

// TestForkSetToTheSame: what is set for a fork stays as it was set when its parent is configured later, also where the parent had it so at the
// moment of the fork. What was not set follows the parent.
func TestForkSetToTheSame(t *testing.T) {
	w := newForkWorld(t)
	host := start(t, w.config)
	state, err := host.State(t.Context(), "demo", events.NoRevision)
	if err != nil {
		t.Fatal(err)
	}
	later := state.Agent.Config
	later.Policy, later.Prompt, later.Limits.Rounds, later.Model = events.Policy{}, "be quick", 3, "fake/other"
	do(t, host, "demo", sagas.Configure{Meta: meta("later"), Config: later})
	for _, test := range []struct {
		set  string
		want func(forked, parent events.AgentConfig) bool
	}{
		{"policy.ask=echo", func(f, _ events.AgentConfig) bool { return reflect.DeepEqual(f.Policy.Ask, []string{"echo"}) }},
		{"policy.on_lost=", func(f, _ events.AgentConfig) bool { return reflect.DeepEqual(f.Policy.Ask, []string{"echo"}) }},
		{"prompt=", func(f, p events.AgentConfig) bool {
			return f.Prompt == "" && len(f.Policy.Ask) == 0 && f.Model == p.Model
		}},
		{"model=fake/two", func(f, p events.AgentConfig) bool { return f.Model == "fake/two" && f.Prompt == p.Prompt }},
		{"limits.rounds=0", func(f, p events.AgentConfig) bool { return f.Limits.Rounds != p.Limits.Rounds }},
	} {
		t.Run(test.set, func(t *testing.T) {
			o := order(state.Revision, test.set)
			name := events.AgentID("fork-" + strings.NewReplacer("=", "-", "/", "-").Replace(test.set) + "x")
			o.ID, o.Name = events.CommandID(name), name
			if _, err := host.Fork(t.Context(), o, actors.Origin{Actor: "test"}); err != nil {
				t.Fatal(err)
			}
			forked, err := awaitFork(t.Context(), host, name)
			if err != nil {
				t.Fatal(err)
			}
			if !test.want(forked.Agent.Config, later) {
				t.Errorf("the fork has %+v, its parent %+v", forked.Agent.Config, later)
			}
		})
	}
	if report, err := host.Verify(t.Context(), "", nil); err != nil || len(report.Failures) > 0 {
		t.Errorf("verify: %v %+v", err, report.Failures)
	}
}
