package actors_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"example.com/life/actors"
	"example.com/life/actors/actorstest"
	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/sagas"
)

// narrow is a journal that takes no more at once than EventStoreDB does, and counts as it does, about.
type narrow struct {
	*actorstest.Memory
	most int
}

func (n narrow) MaxAppend() int { return 1 << 20 }

// withNarrow refuses for good what is more than a store takes.
func withNarrow(most int) narrow {
	n := narrow{actorstest.NewMemory(), most}
	n.Fail(func(stream events.Stream, batch []events.Envelope) error {
		size := 0
		for i := range batch {
			size += 400 + len(batch[i].Data) + 2*len(batch[i].Kind) // its metadata, and its kind in UTF-16
		}
		if size > n.most {
			return fmt.Errorf("%w to %s: %d bytes, at most %d", storage.ErrInvalidAppend, stream, size, n.most)
		}
		return nil
	})
	return n
}

// largeReply has a model reply with calls, and then say that it is done. It returns what the tool was given and what the model was sent back.
func largeReply(t *testing.T, most int, calls []events.ModelCall) (ended *events.TurnEnded, asked int, given, back []json.RawMessage, balance events.Money) {
	t.Helper()
	var asks atomic.Int64
	model := actorstest.FakeModel(func(_ context.Context, q actors.ModelRequest, _ func(actors.Delta)) (actors.ModelResponse, error) {
		if asks.Add(1) > 3 {
			return actors.ModelResponse{}, errors.New("asked without end")
		}
		if q.Messages[len(q.Messages)-1].Role != sagas.RoleTool {
			return actors.ModelResponse{Text: "I write.", Calls: calls, Stop: events.StopCalls, Usage: events.Usage{Output: 9}}, nil
		}
		for i := range q.Messages {
			for _, call := range q.Messages[i].Calls {
				back = append(back, call.Arguments)
			}
		}
		return actors.ModelResponse{Text: "done", Stop: events.StopEnd}, nil
	})
	took := make(chan json.RawMessage, len(calls))
	tool := actorstest.FakeTool{
		Describes: actors.ToolSpec{Name: "echo", Description: "takes it", Schema: json.RawMessage(`{"type":"object"}`), Repeatable: true},
		Does: func(_ context.Context, use actors.ToolUse) (actors.ToolResult, error) {
			took <- use.Arguments
			return actors.ToolResult{Text: "taken"}, nil
		},
	}
	journal := withNarrow(most)
	host := start(t, actors.Config{
		Journal: journal, Models: oneModel{model}, Tools: []actors.Tool{tool}, Prices: priced{3 * events.Dollar / 2}, OpeningCredit: 10 * events.Dollar,
	})
	made := create("demo", "echo")
	made.Config.Limits.ToolCalls, made.Config.Limits.Tokens, made.Config.Limits.ContextTokens, made.Config.Limits.Money = 10_000, 1<<40, 1<<40, 5*events.Dollar
	do(t, host, "demo", made)
	do(t, host, "demo", say("c1", "go"))
	<-time.After(20 * time.Minute)
	until(t, watch(t, host, "demo"), func(e events.Event) bool {
		if end, ok := e.(events.TurnEnded); ok {
			ended = &end
		}
		return e.Kind() == "settlement.recorded"
	})
	verified(t, host)
	wallet, err := host.Wallet(t.Context(), sagas.DefaultWallet)
	if err != nil || wallet.Held != 0 {
		t.Errorf("wallet: %v %+v", err, wallet)
	}
	for len(took) > 0 {
		given = append(given, <-took)
	}
	return ended, int(asks.Load()), given, back, wallet.Balance
}

// content is arguments of so many bytes.
func content(path string, size int) json.RawMessage {
	return json.RawMessage(fmt.Sprintf(`{"content":%q,"path":%q}`, strings.Repeat("x", size), path))
}

func manyOf(n, size int) (calls []events.ModelCall) {
	for i := range n {
		calls = append(calls, events.ModelCall{ID: fmt.Sprint("c", i), Tool: "echo", Arguments: content(fmt.Sprint("f", i), size)})
	}
	return calls
}

// TestLargeReply has models reply with more than a store takes at once. The model is asked once for it, the tools and the model get the whole
// arguments, and what is stored is small.
func TestLargeReply(t *testing.T) {
	for name, calls := range map[string][]events.ModelCall{
		"one of 600 KB":             manyOf(1, 600_000),
		"thirty of 25 KB":           manyOf(30, 25_000),
		"one of 5 MB":               manyOf(1, 5_000_000),
		"two hundred of 1.9 KB":     manyOf(100, 1_900),
		"at the limit of a text":    manyOf(3, events.InlineLimit-30),
		"many members":              {{ID: "a", Tool: "echo", Arguments: members(20_000)}},
		"deep, and not ASCII":       {{ID: "a", Tool: "echo", Arguments: json.RawMessage(`{"list":[` + strings.Repeat(`{"π":"€😀"},`, 9_000) + `{}]}`)}},
		"one large among the small": append(manyOf(60, 900), manyOf(61, 700_000)[60]),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ended, asked, given, back, balance := largeReply(t, 1<<20, calls)
				if ended.Outcome != events.Done || asked != 2 || balance != 7*events.Dollar {
					t.Errorf("asked %d times, balance %s: %s", asked, balance, ended)
				}
				if len(given) != len(calls) || len(back) != len(calls) {
					t.Fatalf("%d calls ran and %d were sent back, want %d", len(given), len(back), len(calls))
				}
				for i, call := range calls {
					if !bytes.Equal(back[i], sagas.CanonicalArguments(call.Arguments)) {
						t.Errorf("call %d was sent back with %d bytes", i, len(back[i]))
					}
				}
				for _, arguments := range given {
					if !jsonAmong(arguments, calls) {
						t.Errorf("a call got %d bytes that none has", len(arguments))
					}
				}
			})
		})
	}
}

func members(n int) json.RawMessage {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,"m%06d":%d`, i, i)
	}
	return json.RawMessage("{" + b.String()[1:] + "}")
}

func jsonAmong(arguments json.RawMessage, calls []events.ModelCall) bool {
	for i := range calls {
		if bytes.Equal(arguments, sagas.CanonicalArguments(calls[i].Arguments)) {
			return true
		}
	}
	return false
}

// TestReplyTooLarge has a model reply with more than can be stored however it is cut: the turn ends with a reason that names the size, and
// is charged. The same when a store takes less than it says.
func TestReplyTooLarge(t *testing.T) {
	for name, c := range map[string]struct {
		most  int
		calls []events.ModelCall
		says  string
	}{
		"ten thousand calls":              {1 << 20, manyOf(10_000, 10), "10000 calls"},
		"a tool's name of a megabyte":     {1 << 20, []events.ModelCall{{ID: "a", Tool: strings.Repeat("n", 1<<20), Arguments: json.RawMessage(`{}`)}}, "bytes"},
		"ids of 100 KB":                   {1 << 20, []events.ModelCall{{ID: strings.Repeat("i", 400_000), Tool: "echo", Arguments: json.RawMessage(`{}`)}}, "bytes"},
		"a store that takes only 20,000":  {20_000, manyOf(40, 100), "at most 20000"},
		"one call, a store that takes 5K": {5_000, manyOf(1, 4_000), "at most 5000"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ended, asked, given, _, balance := largeReply(t, c.most, c.calls)
				if ended.Outcome != events.Failed || ended.Reason != events.ReasonUnstored || !strings.Contains(ended.Detail, c.says) {
					t.Error(ended)
				}
				if asked != 1 || len(given) != 0 || balance != 17*events.Dollar/2 {
					t.Errorf("asked %d times, ran %d, balance %s", asked, len(given), balance)
				}
			})
		})
	}
}

// TestLargeCommand sends more in one command than the store takes at once: it is refused, and the agent goes on.
func TestLargeCommand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := start(t, actors.Config{Journal: withNarrow(1 << 20), Models: oneModel{actorstest.FakeModel(twoRounds)}, Tools: []actors.Tool{echo()}})
		do(t, host, "demo", create("demo", "echo"))
		large := create("demo", "echo").Config
		large.Prompt = strings.Repeat("x", 2<<20)
		_, err := host.Do(t.Context(), "agent-demo", sagas.Configure{Meta: meta("c1"), Config: large}, actors.Origin{})
		var refused *sagas.RefusalError
		if !errors.As(err, &refused) || refused.Code != sagas.RefusedInvalid || !strings.Contains(refused.Detail, "bytes") {
			t.Error(err)
		}
		do(t, host, "demo", say("c2", "go"))
		until(t, watch(t, host, "demo"), ended)
		verified(t, host)
	})
}

// TestManyCommandsOnNarrowStore has more wait for one agent than the store takes at once, and a store that takes less than it says.
func TestManyCommandsOnNarrowStore(t *testing.T) {
	for _, most := range []int{1 << 20, 100_000} {
		t.Run(fmt.Sprint(most), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				journal := withNarrow(most)
				gate := make(chan struct{})
				host := start(t, actors.Config{Journal: journal, Models: oneModel{actorstest.FakeModel(func(ctx context.Context, q actors.ModelRequest, d func(actors.Delta)) (actors.ModelResponse, error) {
					<-gate
					return twoRounds(ctx, q, d)
				})}})
				made := create("demo")
				made.Config.Limits.Queue = 1000
				do(t, host, "demo", made)
				failed := make(chan error, 100)
				for i := range 100 {
					go func() {
						for {
							_, err := host.Do(t.Context(), "agent-demo", say(fmt.Sprint("c", i), strings.Repeat("x", 20_000)), actors.Origin{})
							var away *actors.UnavailableError
							if errors.As(err, &away) {
								<-time.After(time.Second)
								continue
							}
							failed <- err
							return
						}
					}()
				}
				for range 100 {
					if err := <-failed; err != nil {
						t.Error(err)
					}
				}
				close(gate)
				page, err := journal.ReadAll(t.Context(), storage.Start(), storage.Forward, storage.Filter{Kinds: []string{"message.received"}}, storage.Limit{Events: 4096, Bytes: 16 << 20})
				if n := len(page.Events); n != 100 || err != nil {
					t.Errorf("%d messages", n)
				}
			})
		})
	}
}
