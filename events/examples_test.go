package events_test

import (
	"encoding/json"
	"strconv"

	"example.com/life/events"
)

// examples holds one realistic event of every kind, with every field filled. They are what the goldens, the sentences and
// docs/events.md show. They tell one story: the agent "billing" reads an invoice and corrects it.
func examples() []events.Event {
	all := agentExamples()
	all = append(all, forkExamples()...)
	all = append(all, turnExamples()...)
	all = append(all, homeostasisExamples()...)
	all = append(all, modelExamples()...)
	all = append(all, compactionExamples()...)
	all = append(all, toolExamples()...)
	all = append(all, permissionExamples()...)
	all = append(all, walletExamples()...)
	all = append(all, knowledgeExamples()...)
	all = append(all, projectionExamples()...)
	return append(all, hostExamples()...)
}

// The request ids of the story: the revisions at which the agent's stream recorded them.
const (
	exampleAdvice  = events.RequestID("agent-billing@3")
	exampleReserve = events.RequestID("agent-billing@4")
	exampleAsk     = events.RequestID("agent-billing@7")
	exampleTool    = events.RequestID("agent-billing@9")
	exampleSettle  = events.RequestID("agent-billing@21")
)

// exampleTime is 2026-03-14 09:26:53.589793 UTC.
const exampleTime = events.Micros(1773480413589793)

func exampleBlob() *events.BlobRef {
	text := "# Invoice 1042\nTotal: 1,240.00 USD\n"
	return &events.BlobRef{Hash: events.HashBytes([]byte(text)), Size: int64(len(text)), Media: "text/plain; charset=utf-8"}
}

// exampleTree is the workspace with a total in its invoice, and a file that was too large to be recorded.
func exampleTree(total string) *events.Tree {
	empty := "life tree 1\n"
	manifest := empty + "f 644 " + strconv.Itoa(len(total)) + " " + events.HashBytes([]byte(total)) + " 1042.md\n" +
		"d 755 " + strconv.Itoa(len(empty)) + " " + events.HashBytes([]byte(empty)) + " archive\nx scan.tiff\tit is larger than 16 MiB\n"
	return &events.Tree{
		Manifest: &events.BlobRef{Hash: events.HashBytes([]byte(manifest)), Size: int64(len(manifest)), Media: "text/x-life-tree"},
		Files:    1, Dirs: 1, Bytes: int64(len(total)), Missing: "scan.tiff: it is larger than 16 MiB",
	}
}

func exampleMasked() []events.Masked { return []events.Masked{{Rule: "github-pat", Count: 2}} }

func exampleDigest() events.Digest {
	return events.Digest{}.Next("agent.created", []byte(`{"agent":"billing"}`))
}

func exampleConfig() events.AgentConfig {
	return events.AgentConfig{
		Model:     "openai/gpt-5-mini",
		Prompt:    "You keep the books. Change nothing without saying why.",
		Workspace: "/srv/books",
		Tools: []events.ToolGrant{
			{Name: "read_file", Risk: events.RiskLow, Repeatable: true},
			{Name: "bash", Risk: events.RiskHigh},
			{Name: "mcp__ledger__post_entry", Risk: events.RiskHigh, Of: events.ServerTool{
				Server: "ledger", Tool: "post.entry", Description: "Posts an entry.", Schema: `{"type":"object","properties":{"amount":{"type":"number"}}}`,
			}},
			{Name: "mcp__ledger__read_resource", Risk: events.RiskHigh, Of: events.ServerTool{
				Server: "ledger", Method: "resources/read", Description: "Reads a resource of the server.", Schema: `{"type":"object"}`,
			}},
		},
		Wallet: "office",
		Tenant: "accounts",
		Limits: events.Limits{
			Rounds: 20, Tokens: 200_000, Money: events.Dollar / 2, Reserve: events.Dollar / 10, Time: 10 * events.Minute,
			ToolCalls: 40, Errors: 4, ContextTokens: 96_000, ReplyTokens: 4_096, Queue: 32, ApprovalTime: 60 * events.Minute,
		},
		Policy: events.Policy{
			Ask: []string{"bash"}, Deny: []string{"write_file"}, OnLost: events.LostTell, OnLimit: events.LimitEnd,
			Mode: events.PermissionAuto, OnAsk: events.AskDeny,
		},
		Knowledge:  events.KnowledgeConfig{Tokens: 1_500, Notes: 5, Near: []events.NoteID{"invoices"}},
		Compaction: events.Compaction{Mode: events.CompactSummarise, At: 75, Keep: 24_000, Model: "openai/gpt-5-nano"}, Once: true,
		Masking: events.MaskStrict, Secrets: []string{"BANK_TOKEN"},
		Editor:   events.EditByBoth,
		Thinking: events.Thinking{Effort: events.EffortHigh, Budget: 8_000},
		Route: []events.Candidate{{
			Model: "openai/gpt-5-mini", Modes: []events.OperatingMode{events.ModeExecute}, Needs: []events.Need{events.NeedTools}, MaxContext: 96_000,
		}},
		Skills: events.SkillsConfig{From: []string{"user", "/srv/skills"}, Found: []events.Skill{{
			Name: "invoices", Description: "How invoices are numbered and corrected here.", File: "/srv/skills/invoices/SKILL.md",
			Digest: "9c1f5d6b0d7e8a2f3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c5d6e7f809112",
		}}},
		MCP: events.MCPConfig{Servers: []string{"ledger", "mail"}, Problems: []events.ServerProblem{{Server: "mail", Problem: "it cannot be reached"}}},
	}
}

func agentExamples() []events.Event {
	return []events.Event{
		events.AgentCreated{Agent: "billing", Config: exampleConfig(), Masked: exampleMasked()},
		events.AgentForked{
			Agent: "billing-2", Parent: "billing", At: 12, Digest: exampleDigest(), Time: exampleTime, Until: 40, Inputs: 31, Tape: events.TapeFirst,
			Edit:  &events.MessageEdit{Revision: 13, Text: events.Text{Inline: "Correct invoice 1042, and say what was wrong.", Blob: exampleBlob(), Masked: exampleMasked()}},
			Paper: true, Changed: []string{"model", "wallet"}, Config: exampleConfig(), Masked: exampleMasked(),
		},
		events.AgentConfigured{Config: exampleConfig(), Masked: exampleMasked()},
		events.AgentRetired{Reason: "the project ended"},
		events.AgentQuarantined{Reason: "apply revision 18: unknown event turn.folded version 2", Failures: 5},
		events.AgentReleased{By: "operator"},
		events.MessageReceived{
			Message: "m3", Verb: events.Followup, From: "web",
			Text: events.Text{Inline: "Correct the total of <invoice 1042> & tell me what was wrong…", Blob: exampleBlob(), Masked: exampleMasked()},
		},
		events.MessageDelivered{Turn: "billing/1", Messages: []events.MessageID{"m2", "m3"}},
	}
}

func forkExamples() []events.Event {
	return []events.Event{
		events.ForkDiverged{Turn: "billing-2/3", Round: 2, Call: "2.1", Detail: "the parent called read_file here"},
		events.ForkSkipped{At: 29, What: "approval.granted", Reason: "call 2.1 of billing-2 does not wait for approval"},
		events.ForkFinished{Taped: 4, Live: 3, Skipped: 1},
	}
}

func turnExamples() []events.Event {
	return []events.Event{
		events.TurnStarted{Turn: "billing/1", Messages: []events.MessageID{"m1"}, ByWindow: true},
		events.TurnPaused{Turn: "billing/1", Reason: events.ReasonTokens, Detail: "200,112 of 200,000 tokens are used"},
		events.TurnResumed{Turn: "billing/1", By: "operator"},
		events.TurnEnded{
			Turn: "billing/1", Outcome: events.Stopped, Reason: events.ReasonToolCalls, Detail: "40 of 40 tool calls are used",
			Rounds: 4, ToolCalls: 40, Usage: events.Usage{Input: 18_204, Output: 911, Cached: 12_288, Estimated: true, CacheWrite: 3_072, CacheWriteLong: 1_024, Reasoning: 320}, Cost: 6_373, Unpriced: true,
		},
		events.LoopWarned{Call: "3.1", Tool: "read_file", Count: 3},
	}
}

func homeostasisExamples() []events.Event {
	streak, pressure := 3.0, 0.25
	return []events.Event{
		events.RulesAdopted{By: "operator", Rules: []events.Rule{
			{Name: "repair-first", Measure: "error_streak", AtLeast: &streak, Mode: events.ModeRecover},
			{Name: "roomy", Measure: "context_pressure", AtMost: &pressure, Mode: events.ModeExecute},
		}},
		events.AdviceRequested{Turn: "billing/1"},
		events.AdviceGiven{Request: exampleAdvice, Mode: events.ModeRecover, Because: []string{"repair-first"}},
		events.AdviceMissed{Request: exampleAdvice, Mode: events.ModeExecute, Detail: "no answer within 200ms"},
	}
}

func modelExamples() []events.Event {
	return []events.Event{
		events.ModelRequested{
			Turn: "billing/1", Round: 2, Attempt: 2, Model: "openai/gpt-5-mini", Context: exampleDigest(), Dropped: 6, Shortened: 1, Room: 3_900,
			Route: "route/books", Because: "openai/gpt-5 failed",
		},
		events.ModelReplied{
			Request: exampleAsk,
			Text:    events.Text{Inline: "The total adds up to 1,240.00. I will correct the invoice.", Blob: exampleBlob(), Masked: exampleMasked()},
			Calls: []events.ModelCall{
				{ID: "call_x1", Tool: "edit_file", Arguments: json.RawMessage(`{"new":"1,240.00","old":"1,204.00","path":"1042.md"}`)},
				{ID: "call_x2", Tool: "bash", Arguments: json.RawMessage(`{"command":"grep -c <total> 1042.md && echo done"}`), Cut: true, Blob: exampleBlob()},
			},
			Withheld: "it makes 9000 calls, about 1048576 bytes of events, and at most 614400 are stored at once",
			Stop:     events.StopCalls, Met: events.BoundWindow, Model: "gpt-5-mini-2026-01-31",
			Usage: events.Usage{Input: 4_210, Output: 187, Cached: 2_048, Estimated: true, CacheWrite: 1_024, CacheWriteLong: 512, Reasoning: 64}, Cost: 1_427, Priced: true,
			Duration: 1_840 * events.Millisecond, Polling: true,
			Fault: events.FaultCall,
			Blocks: []events.Block{ // each kind has a field of its own: no reply has a block like this one
				{
					Kind: events.BlockThinking, Bytes: 58, Text: &events.Text{Inline: "The sum is <off>.", Blob: exampleBlob(), Masked: exampleMasked()},
					Raw: &events.Text{Inline: `{"thinking":"The sum is <off>.","signature":"EqQB"}`, Blob: exampleBlob(), Masked: exampleMasked()},
				},
			},
		},
		events.ModelFailed{
			Request: exampleAsk, Class: events.ErrorRateLimited, Detail: "429: slow down", RetryAt: exampleTime + 2*events.Second,
			Usage: events.Usage{Input: 4_210, Output: 12, Cached: 2_048, Estimated: true, CacheWrite: 1_024, CacheWriteLong: 512, Reasoning: 64}, Cost: 1_100, Priced: true, Room: 3_900, Left: true,
		},
	}
}

func compactionExamples() []events.Event {
	left := events.LeftOut{Messages: 41, Kept: []int{38}, Turn: 3, Round: 6}
	return []events.Event{
		events.CompactionRequested{By: "operator"},
		events.SummaryRequested{For: "openai/gpt-5-mini", Turn: "billing/1", Attempt: 2, Model: "openai/gpt-5-nano", Context: exampleDigest(), LeftOut: left},
		events.ConversationCompacted{
			Turn: "billing/1", Request: exampleAsk, How: events.Summarised, LeftOut: left, Because: "the reply is empty",
			Text:  events.Text{Inline: "Invoice 1042 is to total <1,240.00>; archive/ is done…", Blob: exampleBlob(), Masked: exampleMasked()},
			Model: "gpt-5-nano-2026-01-31", Usage: events.Usage{Input: 41_210, Output: 612, Cached: 2_048, CacheWrite: 512, CacheWriteLong: 256, Reasoning: 64, Estimated: true}, Cost: 2_310, Priced: true,
			Duration: 4_100 * events.Millisecond,
		},
	}
}

func toolExamples() []events.Event {
	approved := events.HashBytes([]byte(`bash{"command":"make report"}`))
	return []events.Event{
		events.UndoRequested{To: 12, Tree: *exampleTree("1,204.00"), Force: true, By: "operator"},
		events.UndoEnded{
			Request: "agent-books@41", To: 12, Written: []string{"ledger/june.csv"}, Removed: []string{"ledger/july.csv"}, Others: []string{"notes.md"},
			Left: []string{"key.pem: what was recorded of it has masked secrets"}, More: 2, Detail: "somebody else changed notes.md", Before: exampleTree("1,240.00"), Tree: exampleTree("1,204.00"), Duration: 41_000,
		},
		events.ToolRequested{
			Turn: "billing/1", Call: "2.1", Tool: "bash", Arguments: json.RawMessage(`{"command":"grep -c <total> 1042.md && echo done"}`), Blob: exampleBlob(),
		},
		events.ToolReturned{
			Request: exampleTool, Call: "2.1", Text: events.Text{Inline: "3 lines\n", Blob: exampleBlob(), Masked: exampleMasked()}, Failed: true,
			Full: exampleBlob(), Duration: 12 * events.Millisecond,
			Before: exampleTree("1,204.00"), Tree: exampleTree("1,240.00"),
			Sandbox: "landlock", Confined: exampleBlob().Hash,
		},
		events.ToolLost{Request: exampleTool, Call: "2.1", Detail: "host east began it at 2026-02-03T04:05:06Z and stored no result", Host: "east"},
		events.ToolRefused{Call: "2.2", Tool: "write_file", Reason: "the agent's policy denies it"},
		events.EffectClaimed{Request: exampleTool, Tool: "bash", Host: "books-1"},
		events.ApprovalRequested{
			Turn: "billing/1", Call: "2.1", Tool: "bash", Arguments: json.RawMessage(`{"command":"grep -c <total> 1042.md && echo done"}`),
			Blob: exampleBlob(), Digest: approved, Reason: "the agent's policy asks",
			Expires: exampleTime + 60*events.Minute,
		},
		events.ApprovalGranted{Call: "2.1", Digest: approved, By: "operator", Arguments: json.RawMessage(`{"command":"make invoice"}`)},
		events.ApprovalDenied{Call: "2.1", By: "operator", Reason: "not on a Friday"},
		events.ApprovalExpired{Call: "2.1"},
		events.QuestionAsked{
			Request: exampleTool, Turn: "billing/1", Call: "2.1", Tool: "ask_user", Digest: approved, Expires: exampleTime + 60*events.Minute,
			Question: events.Question{Text: "Which database is meant?", Options: []string{"staging", "production"}}, Masked: exampleMasked(),
		},
		events.QuestionAnswered{Call: "2.1", Answer: "staging", By: "operator", Masked: exampleMasked()},
	}
}

func permissionExamples() []events.Event {
	return []events.Event{
		events.PermissionJudged{
			Call: "2.1", Tool: "bash", Mode: events.PermissionAuto, Verdict: events.VerdictDeny,
			Because: "the rule permissions.yaml:3 denies it: people push",
			Finding: events.Finding{
				Class: events.ClassOutside, Why: "it reaches the network", Ruled: events.VerdictDeny, Rule: "permissions.yaml:3", Reason: "people push", Firm: true, More: 1,
				Key: "5f2b51ca2fdc5baa31ec02e002f69aec4ad2a4a8d1a6d3e5d1f4c9f8f1f6b7aa", Sandbox: "namespaces", Full: true,
				Commands: []events.JudgedCommand{
					{Text: "git push", Class: events.ClassOutside, Ruled: events.VerdictDeny, Rule: "permissions.yaml:3", Why: "it reaches the network"},
				},
			},
		},
		events.PermissionRemembered{
			Call: "2.1", Tool: "bash", Key: "5f2b51ca2fdc5baa31ec02e002f69aec4ad2a4a8d1a6d3e5d1f4c9f8f1f6b7aa", Text: `{"command":"make invoice"}`, Scope: events.ScopeSession,
			Expires: exampleTime, By: "operator",
		},
		events.PermissionRevoked{Remembered: "agent-billing@31", By: "operator", Reason: "the audit is over"},
	}
}

func walletExamples() []events.Event {
	return []events.Event{
		events.WalletOpened{Wallet: "office", Credit: 10 * events.Dollar},
		events.WalletCredited{Amount: 5 * events.Dollar, By: "operator", Memo: "top-up for March"},
		events.FundsReserved{Request: exampleReserve, Turn: "billing/1", Amount: events.Dollar / 10},
		events.FundsRefused{
			Request: exampleReserve, Turn: "billing/1", Amount: events.Dollar / 10, Available: 40_000, Reason: "not enough is available",
		},
		events.FundsSettled{Request: exampleSettle, Turn: "billing/1", Spent: 106_373, Released: -6_373},
		events.WalletWarned{Percent: 80, Spent: 12_106_373, Of: 15 * events.Dollar, Available: 2_793_627},
		events.BudgetRequested{Turn: "billing/1", Wallet: "office", Amount: events.Dollar / 10},
		events.BudgetGranted{Request: exampleReserve, Amount: events.Dollar / 10},
		events.BudgetRefused{Request: exampleReserve, Available: 40_000, Reason: "not enough is available"},
		events.BudgetWarned{Turn: "billing/1", Limit: events.ReasonMoney, Percent: 80, Used: 412_000, Of: 500_000},
		events.SettlementRequested{Turn: "billing/1", Wallet: "office", Spent: 6_373},
		events.SettlementRecorded{Request: exampleSettle, Released: 93_627},
	}
}

func knowledgeExamples() []events.Event {
	march := events.Validity{From: 1_772_323_200 * events.Second, To: 1_775_001_600 * events.Second}
	author := events.NoteAuthor{
		By: "ada", Agent: "billing", Turn: "billing/1", Call: "2.1", Evidence: "agent-billing@10",
	}
	return []events.Event{
		events.NoteWritten{
			Note: events.Note{
				ID: "invoices/1042", Title: "Invoice 1042", Aliases: []string{"the March invoice"}, Tags: []string{"invoice", "open"},
				Links: []events.NoteLink{
					{Relation: "owed_by", Target: "customers/brightwell", Heading: "Terms", Label: "Brightwell", Exclusive: true, File: true, Validity: march},
				},
				Validity: march,
				Text:     events.Text{Inline: "The total is 1,240.00 USD, <not> 1,204.00. Owed by [[customers/brightwell]].", Blob: exampleBlob(), Masked: exampleMasked()},
				Source:   events.NoteFile{Collection: "books", Path: "invoices/1042.md", Dir: "/srv/books"},
			},
			Author: author, Replaces: 7,
		},
		events.NoteRemoved{Note: "invoices/1041", Reason: "it was a duplicate of 1042", Author: author, Replaces: 6},
		events.KnowledgeRequested{Turn: "billing/1", Tokens: 1_500, Notes: 5},
		events.KnowledgeRecalled{
			Request: "agent-billing@5", Tokens: 31, Position: 4_711,
			Notes: []events.RecalledNote{
				{Note: "invoices/1042", Title: "Invoice 1042", Event: "knowledge-accounts@12", Text: "The total is 1,240.00 USD, <not> 1,204.00.", Score: 8_412},
			},
		},
		events.KnowledgeMissed{Request: "agent-billing@5", Detail: "no answer within 1s"},
	}
}

func hostExamples() []events.Event {
	return []events.Event{
		events.HostJoined{
			Name: "books-1", Peer: "10.0.0.7:7071", API: "http://10.0.0.7:7070", Zone: "eu-1", Labels: []events.Label{{Name: "gpu", Value: "yes"}}, Weight: 100,
			Roles: []string{"projections"}, Build: "0.14.0", Protocol: events.ProtocolRange{Oldest: 1, Newest: 2},
			Catalogue: []events.KindVersion{{Of: "agent.created", Version: 7}}, Tools: []string{"bash"}, Providers: []string{"openai"},
			Fence: 5 * events.Second, Silent: events.Second, Older: true,
		},
		events.HostDraining{Host: "books-1#17", By: "ann"},
		events.HostLeft{Host: "books-1#17"},
		events.HostRemoved{
			Host: "books-1#17", By: "books-2#18", Because: events.RemovedSilent, Confirmed: []events.HostID{"books-3#19"}, Detail: "no answer for 1.02s",
		},
		events.PlacementPinned{Stream: "agent-billing", To: []events.Label{{Name: "zone", Value: "eu-1"}}, By: "ann"},
		events.PlacementUnpinned{Stream: "agent-billing", By: "ann"},
	}
}

func projectionExamples() []events.Event {
	source := events.Text{Inline: "name: refunds\nversion: 2\n", Blob: exampleBlob(), Masked: exampleMasked()}
	return []events.Event{
		events.ProjectionAdded{Name: "refunds", Version: 2, Source: source, By: "ann"},
		events.ProjectionRemoved{Name: "refunds", By: "ann", Reason: "nobody asks it"},
		events.ProjectionSkipped{
			Name: "balance", Position: 4711, Event: "wallet-main@12", Of: "wallet.credited", Reason: "imported with an amount that is no number", By: "ann",
		},
	}
}
