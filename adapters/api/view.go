package api

import (
	"cmp"
	"encoding/json"
	"slices"

	"example.com/life/actors/history"
	"example.com/life/events"
	"example.com/life/sagas"
)

// State is an agent's state as the API and the command line show it: all that the fold holds but its memory of past commands'
// ids, with 64-bit numbers as strings. The structs below convert from the saga's own field by field, so that a field that is
// added there does not compile here until it is shown.
type State struct {
	Agent    agentView               `json:"agent"`
	Vector   events.AgentStateVector `json:"vector"`
	Ready    []events.RequestID      `json:"ready"` // outstanding requests
	Revision events.Revision         `json:"revision,string"`
	Digest   events.Digest           `json:"digest"`
}

type agentView struct {
	agentFields
	Conversation conversationView `json:"conversation"`
	Turn         *turnView        `json:"turn,omitempty"` // the one that runs
	Settling     []settlingView   `json:"settling,omitempty"`
	Fork         *forkView        `json:"fork,omitempty"` // where it comes from, and how far it has followed its parent
}

type forkView struct {
	Parent   events.AgentID       `json:"parent"`
	At       events.Revision      `json:"at,string"`
	Until    events.Revision      `json:"until,string"`
	Inputs   events.Revision      `json:"inputs,string"`
	Done     events.Revision      `json:"done,string"`
	Tape     events.TapeMode      `json:"tape"`
	Edit     *events.MessageEdit  `json:"edit,omitempty"`
	Paper    bool                 `json:"paper,omitempty"`
	Changed  []string             `json:"changed,omitempty"`
	Taped    int                  `json:"taped"`
	Live     int                  `json:"live"`
	Skipped  int                  `json:"skipped,omitempty"`
	Diverged *events.ForkDiverged `json:"diverged,omitempty"`
	Finished bool                 `json:"finished,omitempty"`
}

type agentFields struct {
	ID           events.AgentID       `json:"id,omitempty"`
	Config       events.AgentConfig   `json:"config"`
	Parent       events.AgentID       `json:"parent,omitempty"`
	Fork         sagas.Lineage        `json:"-"`
	Retired      bool                 `json:"retired,omitempty"`
	Quarantined  string               `json:"quarantined,omitempty"`
	Revision     events.Revision      `json:"-"` // the state's own
	Turns        int                  `json:"turns"`
	Received     int                  `json:"received"`
	Mode         events.OperatingMode `json:"mode,omitempty"`
	Waiting      []sagas.Waiting      `json:"waiting,omitempty"`
	Conversation sagas.Conversation   `json:"-"`
	Turn         sagas.Turn           `json:"-"`
	Settling     []sagas.AskSettle    `json:"-"`
	Last         *events.TurnEnded    `json:"last,omitempty"`
	Accepted     []sagas.Accepted     `json:"-"`
	Files        *sagas.Files         `json:"files,omitempty"`   // of its workspace, as last recorded
	Undo         *sagas.AskUndo       `json:"undo,omitempty"`    // of its files, which is asked for
	Undone       string               `json:"undone,omitempty"`  // what the next turn is told of files that were restored
	Window       sagas.Window         `json:"window,omitzero"`   // of its model, where a failure told
	Windows      []sagas.Window       `json:"windows,omitempty"` // of other candidates of its route, learnt before; the latest first
	Compact      bool                 `json:"compact,omitempty"` // a person wants the conversation compacted
	Remembered   []sagas.Remembered   `json:"remembered,omitempty"`
	Todos        []sagas.Todo         `json:"todos,omitempty"` // what its model means to do
}

type conversationView struct {
	Messages []sagas.Message `json:"messages,omitempty"`
	Dropped  int             `json:"dropped,omitempty"`
	Summary  *sagas.Summary  `json:"summary,omitempty"` // what stands for those of them that were compacted
	Blobs    bool            `json:"blobs,omitempty"`
	Bytes    int64           `json:"bytes,string"`
	Chain    events.Digest   `json:"chain"`
}

type turnView struct {
	turnFields
	Calls []callView `json:"calls,omitempty"`
	Tally tallyView  `json:"tally"`
}

type turnFields struct {
	ID          events.TurnID      `json:"id"`
	Number      int                `json:"number"`
	Config      events.AgentConfig `json:"config"`
	Limits      events.Limits      `json:"limits"`
	Started     events.Micros      `json:"started,string"`
	ByWindow    bool               `json:"by_window,omitempty"`
	Advice      events.RequestID   `json:"advice,omitempty"`
	Budget      events.RequestID   `json:"budget,omitempty"`
	Knowledge   events.RequestID   `json:"knowledge,omitempty"`
	Model       events.RequestID   `json:"model,omitempty"`
	RetryAt     events.Micros      `json:"retry_at,string,omitempty"`
	Paused      events.Reason      `json:"paused,omitempty"`
	Interrupted bool               `json:"cut,omitempty"`
	Compaction  *sagas.Compaction  `json:"compaction,omitempty"`
	Round       int                `json:"round"`
	Attempt     int                `json:"attempt,omitempty"`
	Failed      int                `json:"failed,omitempty"`
	Faults      int                `json:"faults,omitempty"`
	Asked       string             `json:"asked,omitempty"`
	Left        []string           `json:"left,omitempty"`
	Troubles    int                `json:"troubles,omitempty"`
	Calls       []sagas.Call       `json:"-"`
	Answer      events.Text        `json:"answer"`
	Context     events.Digest      `json:"context"`
	Requested   events.Money       `json:"requested,string,omitempty"`
	Held        events.Money       `json:"held,string"`
	Waited      events.Micros      `json:"waited,string,omitempty"`
	WaitingAt   events.Micros      `json:"waiting_at,string,omitempty"`
	sagas.Tally `json:"-"`
}

type callView struct {
	callFields
	Stage string `json:"stage"` // a new call's stage is empty in the fold, and "new" to a reader
}

type callFields struct {
	ID        events.CallID    `json:"id"`
	Provider  string           `json:"provider"`
	Tool      string           `json:"tool"`
	Arguments json.RawMessage  `json:"arguments"`
	Blob      *events.BlobRef  `json:"blob,omitempty"` // all of the arguments, where they are large
	Stage     sagas.CallStage  `json:"-"`
	Request   events.RequestID `json:"request,omitempty"`
	Digest    string           `json:"digest"`
	Repeats   int              `json:"repeats"`
	Expires   events.Micros    `json:"expires,string,omitempty"`
	Lost      bool             `json:"lost,omitempty"`
	LostBy    string           `json:"lost_by,omitempty"`
	Text      events.Text      `json:"result"`
	Failed    bool             `json:"failed,omitempty"`
	Warned    bool             `json:"warned,omitempty"`
	Cut       bool             `json:"cut,omitempty"`
	Found     *sagas.Finding   `json:"found,omitempty"` // what the host's policy said of it
	Edited    bool             `json:"edited,omitempty"`
	Asked     *events.Question `json:"asked,omitempty"`
	Answers   []string         `json:"answers,omitempty"`
}

type tallyView struct {
	Usage       events.Usage     `json:"usage"`
	Cost        events.Money     `json:"cost,string"`
	Uncharged   events.Money     `json:"free,string,omitempty"`
	LastCost    events.Money     `json:"last_cost,string"`
	Unpriced    bool             `json:"unpriced,omitempty"`
	ToolCalls   int              `json:"tool_calls"`
	Failures    int              `json:"failures"`
	Effects     int              `json:"effects"`
	Approvals   int              `json:"approvals"`
	Risk        events.RiskLevel `json:"risk"`
	ErrorStreak int              `json:"error_streak"`
	Progress    float64          `json:"progress"`
	LastCall    string           `json:"last_call,omitempty"`
	Repeats     int              `json:"repeats,omitempty"`
	CutOff      int              `json:"cut_off,omitempty"`
	LastResult  string           `json:"last_result,omitempty"`
	Varied      bool             `json:"varied,omitempty"`
	AdvisedAt   int              `json:"advised_at,omitempty"`
	Awake       bool             `json:"awake,omitempty"`

	Warned map[events.Reason]int `json:"warned,omitempty"` // in percent
}

type settlingView struct {
	ID     events.RequestID `json:"id"`
	Wallet events.WalletID  `json:"wallet"`
	Turn   events.TurnID    `json:"turn"`
	Spent  events.Money     `json:"spent,string"`
}

const stageNew = "new"

// NewState shows a state.
func NewState(state history.AgentState) State {
	saga := state.Agent
	agent := agentView{agentFields: agentFields(saga), Conversation: newConversationView(&saga.Conversation)}
	for _, s := range saga.Settling {
		agent.Settling = append(agent.Settling, settlingView{s.ID, s.Wallet, s.Turn, s.Spent})
	}
	if saga.Fork.Parent != "" {
		fork := forkView(saga.Fork)
		agent.Fork = &fork
	}
	if saga.Turn.ID != "" {
		turn := turnView{turnFields: turnFields(saga.Turn), Tally: tallyView(saga.Turn.Tally)}
		for _, call := range saga.Turn.Calls {
			turn.Calls = append(turn.Calls, callView{callFields(call), cmp.Or(string(call.Stage), stageNew)})
		}
		agent.Turn = &turn
	}
	return State{Agent: agent, Vector: state.Vector, Ready: state.Ready, Revision: state.Revision, Digest: state.Digest}
}

func newConversationView(c *sagas.Conversation) conversationView {
	return conversationView{Messages: c.Messages, Dropped: c.Dropped, Summary: c.Summary, Blobs: c.Blobs, Bytes: c.Bytes, Chain: c.Chain}
}

// state is the way back.
func (s *State) state() history.AgentState {
	saga := sagas.Agent(s.Agent.agentFields)
	saga.Revision = s.Revision
	c := &s.Agent.Conversation
	saga.Conversation = sagas.Conversation{
		Messages: c.Messages, Dropped: c.Dropped, Summary: c.Summary, Blobs: c.Blobs, Bytes: c.Bytes, Chain: c.Chain,
	}
	if s.Agent.Fork != nil {
		saga.Fork = sagas.Lineage(*s.Agent.Fork)
	}
	for _, settling := range s.Agent.Settling {
		saga.Settling = append(saga.Settling, sagas.AskSettle{
			Outstanding: sagas.Outstanding{ID: settling.ID}, Wallet: settling.Wallet, Turn: settling.Turn, Spent: settling.Spent,
		})
	}
	if turn := s.Agent.Turn; turn != nil {
		saga.Turn = sagas.Turn(turn.turnFields)
		saga.Turn.Tally = sagas.Tally(turn.Tally)
		for _, call := range turn.Calls {
			restored := sagas.Call(call.callFields)
			if call.Stage != stageNew {
				restored.Stage = sagas.CallStage(call.Stage)
			}
			saga.Turn.Calls = append(saga.Turn.Calls, restored)
		}
	}
	return history.AgentState{Agent: saga, Vector: s.Vector, Ready: s.Ready, Revision: s.Revision, Digest: s.Digest}
}

// Wallet is a wallet as the API and the command line show it, in micro-dollars.
type Wallet struct {
	ID        events.WalletID `json:"wallet"`
	Revision  events.Revision `json:"revision,string"`
	Balance   events.Money    `json:"balance,string"`
	Held      events.Money    `json:"held,string"`      // set aside for turns that run
	Available events.Money    `json:"available,string"` // the balance less what is held
	Budget    events.Money    `json:"budget,string"`    // the balance after the latest credit
	Holds     []walletHold    `json:"holds"`            // by turn
}

type walletHold struct {
	Turn   events.TurnID `json:"turn"`
	Amount events.Money  `json:"amount,string"`
}

// NewWallet shows a wallet.
func NewWallet(wallet sagas.Wallet) Wallet {
	view := Wallet{
		ID: wallet.ID, Revision: wallet.Revision, Balance: wallet.Balance, Held: wallet.Held, Available: wallet.Available(), Budget: wallet.Budget,
		Holds: []walletHold{},
	}
	for turn, hold := range wallet.Holds {
		view.Holds = append(view.Holds, walletHold{turn, hold.Amount})
	}
	slices.SortFunc(view.Holds, func(a, b walletHold) int { return cmp.Compare(a.Turn, b.Turn) })
	return view
}

// wallet is the way back, of what is shown.
func (w *Wallet) wallet() sagas.Wallet {
	wallet := sagas.Wallet{ID: w.ID, Revision: w.Revision, Balance: w.Balance, Held: w.Held, Budget: w.Budget}
	for _, hold := range w.Holds {
		if wallet.Holds == nil {
			wallet.Holds = map[events.TurnID]sagas.Hold{}
		}
		wallet.Holds[hold.Turn] = sagas.Hold{Amount: hold.Amount}
	}
	return wallet
}
