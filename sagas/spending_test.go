package sagas_test

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"example.com/life/events"
	"example.com/life/sagas"
)

// spender runs turns of an agent whose models, tools, wallet and host fail as they like.
type spender struct {
	agent          *history[sagas.Agent]
	at             events.Micros
	asked          map[int]int // attempts by round
	failed         map[int]int
	costliest, cut events.Money
	longest        int64

	grants map[events.Reason]int64 // by a person, of a limit that was met
	used   map[events.Reason]int64
	warned map[events.Reason]int
	limits map[events.Reason]int64
	paused events.Reason
}

func (s *spender) inside() sagas.Meta { return sagas.Meta{ID: "~host", At: s.at} }

// TestSpending: whatever fails, what a turn spends stays within its limits and one call more. Attempts that a restart cuts off, of which nobody
// knows the cost, are bounded too: in a row, and by what the replies of the turn cost. Providers lie about what was used. People are warned of each
// limit at half and at four fifths, when it is met: once, and never before.
func TestSpending(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := &spender{
			agent: newHistory(sagas.NewAgent), at: start, asked: map[int]int{}, failed: map[int]int{},
			grants: map[events.Reason]int64{}, used: map[events.Reason]int64{}, warned: map[events.Reason]int{},
		}
		config := testConfig()
		config.Policy.OnLimit = rapid.SampledFrom([]events.OnLimit{events.LimitEnd, events.LimitAsk}).Draw(t, "on limit")
		config.Limits = events.Limits{
			Rounds: rapid.IntRange(1, 12).Draw(t, "rounds"), ToolCalls: rapid.IntRange(1, 40).Draw(t, "calls at most"), Money: events.Money(rapid.Int64Range(1, 2_000_000).Draw(t, "money")),
			Tokens: rapid.Int64Range(1, 5_000).Draw(t, "tokens"), Errors: rapid.IntRange(1, 9).Draw(t, "errors"),
		}
		s.limits = map[events.Reason]int64{
			events.ReasonTokens: config.Limits.Tokens, events.ReasonMoney: int64(config.Limits.Money),
			events.ReasonRounds: int64(config.Limits.Rounds), events.ReasonToolCalls: int64(config.Limits.ToolCalls),
		}
		s.decide(t, sagas.Create{Meta: sagas.Meta{ID: "create", At: s.at}, Agent: "a", Config: config})
		s.decide(t, sagas.Send{Meta: sagas.Meta{ID: "send", At: s.at}, Verb: events.Collect, Text: events.Text{Inline: "go"}})
		for steps := 0; s.agent.saga.Turn.ID != ""; steps++ {
			if steps > 3_000 {
				t.Fatal("the turn does not end")
			}
			s.step(t)
		}
		s.check(t, config.Limits)
	})
}

func (s *spender) decide(t *rapid.T, command sagas.Command) {
	s.paused = s.agent.saga.Turn.Paused
	decided, err := s.agent.decide(t, command)
	if err != nil {
		t.Fatalf("%T: %v", command, err)
	}
	s.warnings(t, decided)
	s.at += events.Millisecond
}

// warnings checks that people are warned right behind what used so much of a limit, and nowhere else.
func (s *spender) warnings(t *rapid.T, decided []events.Event) {
	spent := false
	for i, event := range append(slices.Clone(decided), events.AdviceRequested{}) {
		e, warns := event.(events.BudgetWarned)
		if warns && (!spent || e.Used != s.used[e.Limit] || e.Of != s.limits[e.Limit] || e.Percent <= s.warned[e.Limit] || e.Percent != s.reached(e.Limit)) {
			t.Fatalf("%s in %v: %d of %d are used, and it was warned at %d %%", e, decided, s.used[e.Limit], s.limits[e.Limit], s.warned[e.Limit])
		}
		if warns {
			s.warned[e.Limit] = e.Percent
			continue
		}
		for limit := range s.limits {
			if spent && s.reached(limit) > s.warned[limit] {
				t.Fatalf("no warning that %d of %d (%s) are used, in %v", s.used[limit], s.limits[limit], limit, decided[:i])
			}
		}
		spent = s.spends(event)
	}
}

// spends counts what an event says was used.
func (s *spender) spends(event events.Event) bool {
	switch e := event.(type) {
	case events.ModelRequested:
		s.used[events.ReasonRounds] = int64(e.Round)
		return false
	case events.TurnResumed:
		s.grants[s.paused]++
		s.limits[s.paused] += s.limits[s.paused] / s.grants[s.paused]
		s.warned[s.paused] = 50
		return false
	case events.ModelReplied:
		s.used[events.ReasonTokens] += e.Usage.Total()
		s.used[events.ReasonMoney] += int64(e.Cost)
		s.used[events.ReasonToolCalls] += int64(len(e.Calls))
	case events.ModelFailed:
		s.used[events.ReasonTokens] += e.Usage.Total()
		s.used[events.ReasonMoney] += int64(e.Cost)
	default:
		return false
	}
	return true
}

// reached is the highest share that people are to be warned of.
func (s *spender) reached(limit events.Reason) int {
	switch used, of := s.used[limit], s.limits[limit]; {
	case of < 10:
		return 0
	case 5*used >= 4*of:
		return 80
	case 2*used >= of:
		return 50
	}
	return 0
}

// step answers one request, or has the host die.
func (s *spender) step(t *rapid.T) {
	turn := &s.agent.saga.Turn
	dies := rapid.IntRange(0, 3).Draw(t, "dies") == 0
	switch {
	case turn.Paused != "" && s.grants[turn.Paused] < 3:
		s.decide(t, sagas.Approve{Meta: sagas.Meta{ID: events.CommandID(fmt.Sprint("grant", s.at)), At: s.at}})
	case turn.Paused != "":
		s.decide(t, sagas.Deny{Meta: sagas.Meta{ID: events.CommandID(fmt.Sprint("deny", s.at)), At: s.at}})
	case turn.Model != "" && dies:
		if _, again := s.agent.saga.Recovery(s.inside()).(sagas.Recover); again && turn.LastCost > 0 {
			s.cut += turn.LastCost
		}
		s.decide(t, s.agent.saga.Recovery(s.inside()))
	case turn.Model != "":
		s.asked[turn.Round] = turn.Attempt
		s.decide(t, s.reply(t, turn))
	case turn.Advice != "":
		s.decide(t, sagas.AdviceTimeout{Meta: s.inside(), Request: turn.Advice})
	case turn.Knowledge != "":
		s.decide(t, sagas.RecallTimeout{Meta: s.inside(), Request: turn.Knowledge})
	case turn.Budget != "":
		s.decide(t, sagas.RecordReservation{Meta: s.inside(), Request: turn.Budget, Amount: turn.Requested})
	case turn.RetryAt != 0:
		s.at = max(s.at, turn.RetryAt)
		s.decide(t, sagas.Tick{Meta: s.inside()})
	default:
		s.tool(t)
	}
}

func (s *spender) reply(t *rapid.T, turn *sagas.Turn) sagas.Command {
	usage, cost := told(t)
	fails := rapid.IntRange(0, 5).Draw(t, "fails")
	if fails == 1 {
		usage, cost = events.Usage{}, 0 // before anything came
	}
	const most = 1 << 50 // as any number of tokens or micro-dollars is counted
	s.costliest = max(s.costliest, min(cost, most))
	s.longest = max(s.longest, min(max(usage.Input, 0), most)+min(max(usage.Output, 0), most))
	if fails < 2 {
		s.failed[turn.Round]++
		class := rapid.SampledFrom([]events.ErrorClass{events.ErrorOverloaded, events.ErrorTruncated, events.ErrorCancelled}).Draw(t, "class")
		return sagas.ReplyFailed{Meta: s.inside(), Request: turn.Model, Class: class, Detail: "it broke off", Usage: usage, Cost: cost, Priced: true}
	}
	c := sagas.RecordReply{Meta: s.inside(), Request: turn.Model, Usage: usage, Cost: cost, Priced: true, Stop: events.StopCalls}
	switch rapid.IntRange(0, 9).Draw(t, "reply") {
	case 0:
		c.Withheld = "it is too large"
	default:
		for i := range rapid.IntRange(1, 3).Draw(t, "calls") {
			c.Calls = append(c.Calls, events.ModelCall{Tool: "pay", Arguments: json.RawMessage(fmt.Sprintf(`{"n":%d,"round":%d}`, i, turn.Round))})
		}
	}
	return c
}

// told is what a provider says that a call used, and what that costs: also parts that are more than the whole, negative and huge numbers.
func told(t *rapid.T) (events.Usage, events.Money) {
	part := rapid.OneOf(rapid.Int64Range(0, 2_000), rapid.Just(int64(0)), rapid.Int64Range(math.MinInt64, -1), rapid.Int64Range(0, math.MaxInt64))
	number := func(of string) int64 { return part.Draw(t, of) }
	usage := events.Usage{Input: rapid.Int64Range(0, 2_000).Draw(t, "input"), Output: rapid.Int64Range(0, 500).Draw(t, "output")}
	cost := events.Money(rapid.Int64Range(0, 1_500_000).Draw(t, "cost"))
	switch rapid.IntRange(0, 5).Draw(t, "lie") {
	case 0: // of everything
		usage.Input, usage.Output, cost = number("input"), number("output"), events.Money(number("cost"))
	case 1:
		usage.Input = -usage.Input
	}
	usage.Cached, usage.CacheWrite, usage.CacheWriteLong, usage.Reasoning = number("cached"), number("written"), number("long"), number("reasoning")
	return usage, cost
}

func (s *spender) tool(t *rapid.T) {
	for _, request := range s.agent.saga.Ready() {
		ask, is := request.(sagas.AskTool)
		if !is {
			continue
		}
		if rapid.IntRange(0, 5).Draw(t, "lost") == 0 {
			s.decide(t, sagas.RecordLoss{Meta: s.inside(), Request: ask.ID, Call: ask.Call, Detail: "nobody knows", Host: "east"})
			return
		}
		s.decide(t, sagas.RecordResult{Meta: s.inside(), Request: ask.ID, Call: ask.Call, Failed: rapid.Bool().Draw(t, "failed")})
		return
	}
	for _, call := range s.agent.saga.Turn.Calls {
		if call.Stage == sagas.CallWaiting {
			s.decide(t, sagas.Approve{Meta: sagas.Meta{ID: events.CommandID(fmt.Sprint("approve", s.at)), At: s.at}, Call: call.ID, Digest: call.Digest})
			return
		}
	}
	t.Fatalf("nothing is outstanding: %+v", s.agent.saga.Turn)
}

func (s *spender) check(t *rapid.T, limits events.Limits) {
	last := s.agent.saga.Last
	u := last.Usage
	if last.Cost < 0 || min(u.Input, u.Output, u.Cached, u.CacheWrite, u.CacheWriteLong, u.Reasoning) < 0 {
		t.Fatalf("less than nothing was spent: %s, %+v", last.Cost, u)
	}
	limits.Money *= events.Money(1 + s.grants[events.ReasonMoney])
	limits.Tokens *= 1 + s.grants[events.ReasonTokens]
	if last.Cost > limits.Money+s.costliest {
		t.Fatalf("spent %s of %s, and no call cost more than %s", last.Cost, limits.Money, s.costliest)
	}
	if last.Usage.Total() > limits.Tokens+s.longest {
		t.Fatalf("used %d tokens of %d, and no call more than %d", last.Usage.Total(), limits.Tokens, s.longest)
	}
	if last.Rounds > limits.Rounds {
		t.Fatalf("%d rounds of %d", last.Rounds, limits.Rounds)
	}
	for round, attempts := range s.asked {
		if s.failed[round] > 6 || attempts-s.failed[round] > 10 {
			t.Fatalf("round %d was asked %d times, of which %d failed", round, attempts, s.failed[round])
		}
	}
	if s.cut > limits.Money {
		t.Fatalf("attempts that were cut off may have cost %s of %s", s.cut, limits.Money)
	}
}
