package sagas

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"example.com/life/events"
)

// DefaultLimits bound a turn where its agent's configuration says nothing.
func DefaultLimits() events.Limits {
	return events.Limits{
		Rounds:        50,
		Tokens:        1_000_000,
		Money:         1 * events.Dollar,
		Reserve:       events.Dollar / 10,
		Time:          30 * events.Minute,
		ToolCalls:     200,
		Errors:        8,
		ContextTokens: 64_000,
		ReplyTokens:   8_192,
		Queue:         64,
		ApprovalTime:  24 * 60 * events.Minute,
	}
}

// bytesPerToken turns a token limit into a size: about four bytes of English text or code make a token. It is an estimate, used
// only to choose how much of the conversation is sent; what counts against limits is what providers report.
const bytesPerToken = 4

// withDefaults fills every limit that is zero.
func withDefaults(l events.Limits) events.Limits {
	d := DefaultLimits()
	return events.Limits{
		Rounds:        cmp.Or(l.Rounds, d.Rounds),
		Tokens:        cmp.Or(l.Tokens, d.Tokens),
		Money:         cmp.Or(l.Money, d.Money),
		Reserve:       cmp.Or(l.Reserve, d.Reserve),
		Time:          cmp.Or(l.Time, d.Time),
		ToolCalls:     cmp.Or(l.ToolCalls, d.ToolCalls),
		Errors:        cmp.Or(l.Errors, d.Errors),
		ContextTokens: cmp.Or(l.ContextTokens, d.ContextTokens),
		ReplyTokens:   cmp.Or(l.ReplyTokens, d.ReplyTokens),
		Queue:         cmp.Or(l.Queue, d.Queue),
		ApprovalTime:  cmp.Or(l.ApprovalTime, d.ApprovalTime),
	}
}

// ValidateConfig reports what makes no sense in a configuration, as a *RefusalError.
func ValidateConfig(c events.AgentConfig) error {
	if c.Model == "" {
		return refuse(RefusedInvalid, "the configuration names no model: set one such as scripted/tour")
	}
	if err := c.Wallet.Validate(); err != nil {
		return refuse(RefusedInvalid, "%v", err)
	}
	if err := c.Tenant.Validate(); err != nil {
		return refuse(RefusedInvalid, "%v", err)
	}
	if err := validateBounds(&c.Limits); err != nil {
		return err
	}
	if err := ValidateRoute(c.Route); err != nil {
		return err
	}
	if strings.HasPrefix(c.Model, RoutePrefix) && len(c.Route) == 0 {
		return refuse(RefusedInvalid, "%s has no candidates: configure them as routes", c.Model)
	}
	if err := validateTools(c.Tools); err != nil {
		return err
	}
	if err := validateRecall(&c.Knowledge); err != nil {
		return err
	}
	if err := validateCompaction(&c.Compaction); err != nil {
		return err
	}
	if err := validateSkills(&c.Skills); err != nil {
		return err
	}
	if err := validateMCP(&c); err != nil {
		return err
	}
	if !utf8.ValidString(c.Model) || !utf8.ValidString(c.Prompt) || !utf8.ValidString(c.Workspace) {
		return refuse(RefusedInvalid, "the model, the prompt or the workspace is not valid UTF-8")
	}
	if slices.ContainsFunc(slices.Concat(c.Policy.Ask, c.Policy.Deny), func(tool string) bool { return !utf8.ValidString(tool) }) {
		return refuse(RefusedInvalid, "the policy names a tool in invalid UTF-8")
	}
	if err := validatePolicy(&c.Policy); err != nil {
		return err
	}
	switch c.Thinking.Effort {
	case "", events.EffortOff, events.EffortLow, events.EffortMedium, events.EffortHigh:
	default:
		return refuse(RefusedInvalid, "thinking.effort is %q, want off, low, medium or high", c.Thinking.Effort)
	}
	if budget := c.Thinking.Budget; budget < 0 || budget > mostCounted || budget > 0 && c.Thinking.Effort == events.EffortOff {
		return refuse(RefusedInvalid, "thinking.budget is %d: it is a number of tokens, and 0 where thinking is off", budget)
	}
	switch c.Editor {
	case "", events.EditByAnchors, events.EditByText, events.EditByBoth:
	default:
		return refuse(RefusedInvalid, "editor is %q, want hashline, str_replace or both", c.Editor)
	}
	switch c.Masking {
	case "", events.MaskKnown, events.MaskShapes, events.MaskStrict:
	default:
		return refuse(RefusedInvalid, "masking is %q, want known, shapes or strict", c.Masking)
	}
	if slices.ContainsFunc(c.Secrets, func(name string) bool { return name == "" || !utf8.ValidString(name) }) {
		return refuse(RefusedInvalid, "a secret has no name, or one in invalid UTF-8")
	}
	return nil
}

// ValidateMode refuses a permission mode that there is not.
func ValidateMode(mode events.PermissionMode) error {
	switch mode {
	case "", events.PermissionPlan, events.PermissionAsk, events.PermissionEdits, events.PermissionAuto, events.PermissionFull:
		return nil
	}
	return refuse(RefusedInvalid, "mode is %q, want plan, ask, accept-edits, auto or full", mode)
}

// validateBounds refuses limits that are none.
func validateBounds(l *events.Limits) error {
	if min(int64(l.Rounds), l.Tokens, int64(l.Money), int64(l.Reserve), int64(l.Time), int64(l.ToolCalls), int64(l.Errors),
		l.ContextTokens, l.ReplyTokens, int64(l.Queue), int64(l.ApprovalTime)) < 0 {
		return refuse(RefusedInvalid, "a limit is negative: limits are positive, and 0 means the default")
	}
	if max(int64(l.Rounds), l.Tokens, int64(l.Money), int64(l.Reserve), int64(l.Time), int64(l.ToolCalls), int64(l.Errors),
		l.ContextTokens, l.ReplyTokens, int64(l.Queue), int64(l.ApprovalTime)) > mostCounted {
		return refuse(RefusedInvalid, "a limit is more than %d, the largest number a limit can be", int64(mostCounted))
	}
	return nil
}

// validatePolicy refuses what a policy cannot say.
func validatePolicy(p *events.Policy) error {
	switch p.OnLost {
	case "", events.LostAsk, events.LostTell, events.LostEnd:
	default:
		return refuse(RefusedInvalid, "on_lost is %q, want ask, tell or end", p.OnLost)
	}
	if err := ValidateMode(p.Mode); err != nil {
		return err
	}
	switch p.OnAsk {
	case "", events.AskWait, events.AskDeny:
	default:
		return refuse(RefusedInvalid, "on_ask is %q, want wait or deny", p.OnAsk)
	}
	switch p.OnLimit {
	case "", events.LimitAsk, events.LimitEnd:
	default:
		return refuse(RefusedInvalid, "on_limit is %q, want ask or end", p.OnLimit)
	}
	return nil
}

// validateTools refuses grants that could not be recorded, or of which only the first would count.
func validateTools(tools []events.ToolGrant) error {
	for i, tool := range tools {
		if tool.Name == "" || !utf8.ValidString(tool.Name) {
			return refuse(RefusedInvalid, "tool %d has the name %q: tools have names, in valid UTF-8", i+1, tool.Name)
		}
		if tool.Risk < events.RiskNone || tool.Risk > events.RiskHigh {
			return refuse(RefusedInvalid, "tool %s has unknown risk level %d", tool.Name, int(tool.Risk))
		}
		if slices.ContainsFunc(tools[:i], func(g events.ToolGrant) bool { return g.Name == tool.Name }) {
			return refuse(RefusedInvalid, "tool %s is granted twice", tool.Name)
		}
	}
	return nil
}

// grant returns the tool as the agent was granted it.
func grant(c *events.AgentConfig, tool string) (events.ToolGrant, bool) {
	i := slices.IndexFunc(c.Tools, func(g events.ToolGrant) bool { return g.Name == tool })
	if i < 0 {
		return events.ToolGrant{}, false
	}
	return c.Tools[i], true
}

func toolNames(c *events.AgentConfig) []string {
	names := make([]string, len(c.Tools))
	for i, g := range c.Tools {
		names[i] = g.Name
	}
	return names
}

// warnings are the shares of a limit, in percent, at which people are warned: once for each share, and only for the highest that one reply reaches.
//
//nolint:gochecknoglobals // an explicit list, never written to
var warnings = [...]int{50, 80}

// leastWarned is the smallest limit that has warnings: the first of two rounds is 50 %, and not worth one.
const leastWarned = 10

// warn records which limits have reached another share. Builds without warnings (former) recorded none.
func (d *decision) warn(former bool) {
	if former {
		return
	}
	for _, limit := range d.agent.Turn.used() {
		if limit.Percent > d.agent.Turn.Warned[limit.Limit] {
			d.record(limit)
		}
	}
}

// warned reports whether a decision warned of a limit.
func warned(facts []Fact) bool {
	return slices.ContainsFunc(facts, func(f Fact) bool {
		return f.Kind() == (events.BudgetWarned{}).Kind() || f.Kind() == (events.WalletWarned{}).Kind()
	})
}

// used is how much of each limit replies have used, with the share that it has reached. Time is not among them: it passes without replies.
func (t *Turn) used() [4]events.BudgetWarned {
	l := &t.Limits
	used := [...]events.BudgetWarned{
		{Limit: events.ReasonTokens, Used: t.Usage.Total(), Of: l.Tokens},
		{Limit: events.ReasonMoney, Used: int64(t.Cost), Of: int64(l.Money)},
		{Limit: events.ReasonRounds, Used: int64(t.Round), Of: int64(l.Rounds)},
		{Limit: events.ReasonToolCalls, Used: int64(t.ToolCalls), Of: int64(l.ToolCalls)},
	}
	for i := range used {
		used[i].Turn, used[i].Percent = t.ID, reached(used[i].Used, used[i].Of)
	}
	return used
}

// reached is the highest share that has been used; 0: none.
func reached(used, of int64) (percent int) {
	for _, share := range warnings {
		if p := int64(share); of >= leastWarned && used >= of/100*p+(of%100*p+99)/100 {
			percent = share
		}
	}
	return percent
}

// warnedAt folds the highest warning of a limit.
func (t *Turn) warnedAt(limit events.Reason, percent int) {
	t.Warned = put(maps.Clone(t.Warned), limit, percent) // others may have the old one
}

// retryDelay grows from half a second to a minute and is spread by up to a half, so that many turns that failed together do not
// come back together. The spread comes from the request's id: the same history always decides the same.
func retryDelay(attempt int, request events.RequestID, asked events.Micros) events.Micros {
	delay := events.Second / 2
	for range min(attempt-1, 7) {
		delay *= 2
	}
	delay = min(delay, events.Minute)
	spread := events.Micros(0)
	for i := range len(request) {
		spread = (spread*31 + events.Micros(request[i])) % 1000
	}
	return max(delay, asked) + delay*spread/2000
}

// MaxFailures is how often the model may fail in one round; then the turn fails. Attempts that a restart cut off do not count.
const MaxFailures = 6

// maxCutOff is how many attempts in one round a restart may cut off; then the turn fails.
const maxCutOff = 10
