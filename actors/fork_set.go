package actors

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"example.com/life/events"
	"example.com/life/sagas"
	"example.com/life/sagas/strictjson"
)

// setting is one key that a fork can have otherwise than its parent.
type setting struct {
	key   string
	about string
	set   func(o *overrides, value string) error
}

// overrides are what a fork has otherwise than its parent.
type overrides struct {
	config *events.AgentConfig
	rules  []events.Rule // for a tenant of the fork's own
	parts  []string      // of the configuration that were set, as sagas.Fork has them
}

// settings lists the keys of [ForkOrder.Set].
func settings() []setting {
	return append([]setting{
		{"model", "provider/model, such as scripted/tour", func(o *overrides, v string) error { o.config.Model = v; return nil }},
		{"prompt", "the system prompt", func(o *overrides, v string) error { o.config.Prompt = v; return nil }},
		{"tools", "names of tools, or none", func(o *overrides, v string) error { o.setTools(v); return nil }},
		{"tenant", "whose rules advise it", func(o *overrides, v string) error { o.config.Tenant = events.TenantID(v); return nil }},
		{"rules", `homeostasis rules as JSON, for a tenant of the fork's own`, func(o *overrides, v string) (err error) {
			o.rules, err = ReadRules([]byte(v))
			return err
		}},
		{"policy", `the whole policy as JSON: {"ask": […], "deny": […], "on_lost": …, "on_limit": …, "mode": …, "on_ask": …}`, func(o *overrides, v string) error {
			var policy events.Policy
			err := strictjson.Read([]byte(v), &policy)
			o.config.Policy = policy
			return err
		}},
		{"policy.ask", "tools whose calls wait for approval; *, or none", func(o *overrides, v string) error { o.config.Policy.Ask = names(v); return nil }},
		{"policy.deny", "tools whose calls are refused; *, or none", func(o *overrides, v string) error { o.config.Policy.Deny = names(v); return nil }},
		{"policy.mode", "plan, ask, accept-edits, auto, full, or none", func(o *overrides, v string) error {
			if o.config.Policy.Mode = events.PermissionMode(v); v == "none" {
				o.config.Policy.Mode = ""
			}
			return nil
		}},
		{"policy.on_ask", "wait or deny", func(o *overrides, v string) error { o.config.Policy.OnAsk = events.OnAsk(v); return nil }},
		{"policy.on_lost", "ask, tell or end", func(o *overrides, v string) error { o.config.Policy.OnLost = events.OnLost(v); return nil }},
		{"knowledge.tokens", "of notes at the beginning of a turn, 0 for none", func(o *overrides, v string) (err error) {
			o.config.Knowledge.Tokens, err = strconv.ParseInt(v, 10, 64)
			return err
		}},
		{"policy.on_limit", "ask or end", func(o *overrides, v string) error { o.config.Policy.OnLimit = events.OnLimit(v); return nil }},
		{"editor", "hashline, str_replace or both; empty: as the table of models says", func(o *overrides, v string) error { o.config.Editor = events.Editor(v); return nil }},
		{"thinking.effort", "off, low, medium or high; empty: the model's default", func(o *overrides, v string) error {
			o.config.Thinking.Effort = events.Effort(v)
			return nil
		}},
		{"thinking.budget", "tokens of thinking in one reply, 0 for no bound of its own", func(o *overrides, v string) (err error) {
			o.config.Thinking.Budget, err = strconv.ParseInt(v, 10, 64)
			return err
		}},
		{"compaction.mode", "summarise, drop or off", func(o *overrides, v string) error {
			o.config.Compaction.Mode = events.CompactionMode(v)
			return nil
		}},
		{"compaction.at_percent", "of the window, 0 for the default", func(o *overrides, v string) (err error) {
			o.config.Compaction.At, err = strconv.Atoi(v)
			return err
		}},
		{"compaction.keep_tokens", "of the newest rounds, 0 for the default", func(o *overrides, v string) (err error) {
			o.config.Compaction.Keep, err = strconv.ParseInt(v, 10, 64)
			return err
		}},
		{"compaction.model", "that writes the summaries; empty: the agent's own", func(o *overrides, v string) error { o.config.Compaction.Model = v; return nil }},
		{"masking", "which secrets are masked: known, shapes or strict", func(o *overrides, v string) error { o.config.Masking = events.MaskingLevel(v); return nil }},
		{"secrets", "names of the host's secrets that its tools may use, or none", func(o *overrides, v string) error { o.config.Secrets = names(v); return nil }},
		{"mcp", "MCP servers whose tools it is granted too, or none", func(o *overrides, v string) error { o.config.MCP.Servers = names(v); return nil }},
		{"skills", "where its skills come from: user, workspace, directories, or none", func(o *overrides, v string) error { o.config.Skills.From = names(v); return nil }},
	}, limitSettings()...)
}

// limitSettings lists the keys of limits.
func limitSettings() []setting {
	count := func(key string, field func(*events.Limits) *int) setting {
		return setting{"limits." + key, "a number", func(o *overrides, v string) (err error) {
			*field(&o.config.Limits), err = strconv.Atoi(v)
			return err
		}}
	}
	number := func(key string, field func(*events.Limits) *int64) setting {
		return setting{"limits." + key, "a number", func(o *overrides, v string) (err error) {
			*field(&o.config.Limits), err = strconv.ParseInt(v, 10, 64)
			return err
		}}
	}
	money := func(key string, field func(*events.Limits) *events.Money) setting {
		return setting{"limits." + key, "dollars", func(o *overrides, v string) (err error) {
			*field(&o.config.Limits), err = events.ParseMoney(v)
			return err
		}}
	}
	span := func(key string, field func(*events.Limits) *events.Micros) setting {
		return setting{"limits." + key, "a length of time, such as 10m", func(o *overrides, v string) error {
			length, err := time.ParseDuration(v)
			*field(&o.config.Limits) = micros(length)
			return err
		}}
	}
	return []setting{
		count("rounds", func(l *events.Limits) *int { return &l.Rounds }),
		number("tokens", func(l *events.Limits) *int64 { return &l.Tokens }),
		money("money", func(l *events.Limits) *events.Money { return &l.Money }),
		money("reserve", func(l *events.Limits) *events.Money { return &l.Reserve }),
		span("time", func(l *events.Limits) *events.Micros { return &l.Time }),
		count("tool_calls", func(l *events.Limits) *int { return &l.ToolCalls }),
		count("errors", func(l *events.Limits) *int { return &l.Errors }),
		number("context_tokens", func(l *events.Limits) *int64 { return &l.ContextTokens }),
		number("reply_tokens", func(l *events.Limits) *int64 { return &l.ReplyTokens }),
		count("queue", func(l *events.Limits) *int { return &l.Queue }),
		span("approval_time", func(l *events.Limits) *events.Micros { return &l.ApprovalTime }),
	}
}

// SettingKeys lists the keys of [ForkOrder.Set], each with what its value is.
func SettingKeys() (keys, about []string) {
	for _, s := range settings() {
		keys, about = append(keys, s.key), append(about, s.about)
	}
	return keys, about
}

// override lays KEY=VALUE settings over a configuration, in order.
func override(config events.AgentConfig, set []string) (overrides, error) {
	o := overrides{config: &config}
	known := settings()
	for _, text := range set {
		key, value, found := strings.Cut(text, "=")
		i := slices.IndexFunc(known, func(s setting) bool { return s.key == key })
		if !found || i < 0 {
			keys, _ := SettingKeys()
			return o, refusedSetting("%q is no KEY=VALUE of a fork; the keys are: %s", events.Clip(text, 100), strings.Join(keys, ", "))
		}
		if err := known[i].set(&o, value); err != nil {
			return o, refusedSetting("%s is %q, want %s: %v", key, events.Clip(value, 100), known[i].about, err)
		}
		o.parts = append(o.parts, partOf(key))
	}
	return o, nil
}

// partOf names the part of the configuration that a key belongs to.
func partOf(key string) string {
	if key == "rules" {
		return "tenant"
	}
	part, _, _ := strings.Cut(key, ".")
	return part
}

func refusedSetting(format string, args ...any) error {
	return &sagas.RefusalError{Code: sagas.RefusedInvalid, Detail: fmt.Sprintf(format, args...)}
}

func names(list string) []string {
	var all []string
	for name := range strings.SplitSeq(list, ",") {
		if name = strings.TrimSpace(name); name != "" && list != "none" {
			all = append(all, name)
		}
	}
	return all
}

// setTools replaces the tools of the host's own; those of MCP servers are a matter of mcp.
func (o *overrides) setTools(list string) {
	of := slices.DeleteFunc(slices.Clone(o.config.Tools), func(t events.ToolGrant) bool { return t.Of.Server == "" })
	o.config.Tools = append(toolGrants(list), of...)
}

func toolGrants(list string) []events.ToolGrant {
	var tools []events.ToolGrant
	for _, name := range names(list) {
		tools = append(tools, events.ToolGrant{Name: name})
	}
	return tools
}

// ReadRules reads a homeostasis rule file: a JSON list of rules, or an object that has it as "rules".
func ReadRules(text []byte) ([]events.Rule, error) {
	var file struct {
		Rules []events.Rule `json:"rules"`
	}
	into := any(&file)
	if bytes.HasPrefix(bytes.TrimSpace(text), []byte("[")) {
		into = &file.Rules
	}
	if err := strictjson.Read(text, into); err != nil {
		return nil, fmt.Errorf("read rules: %w", err)
	}
	if len(file.Rules) == 0 {
		return nil, fmt.Errorf("read rules: there are none")
	}
	return file.Rules, nil
}
