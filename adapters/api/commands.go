package api

import (
	"context"
	"net/http"
	"regexp"
	"time"

	"github.com/google/uuid"

	"example.com/life/actors"
	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/sagas"
)

// The bodies of commands. The client writes them, the server reads them.
type (
	createBody struct {
		Agent  events.AgentID `json:"agent,omitempty"` // empty: derived from the Idempotency-Key
		Config configBody     `json:"config"`
	}
	configBody struct {
		Model     string          `json:"model"`
		Prompt    string          `json:"prompt,omitempty"`
		Workspace string          `json:"workspace,omitempty"`
		Tools     []string        `json:"tools,omitempty"` // names; the host knows their risks
		Wallet    events.WalletID `json:"wallet,omitempty"`
		Tenant    events.TenantID `json:"tenant,omitempty"`
		Limits    events.Limits   `json:"limits,omitzero"`
		Policy    events.Policy   `json:"policy,omitzero"`

		Knowledge events.KnowledgeConfig `json:"knowledge,omitzero"`
	}
	messageBody struct {
		Text string      `json:"text"`
		Verb events.Verb `json:"verb,omitempty"` // empty: collect
		From string      `json:"from,omitempty"`
	}
	cancelBody struct {
		Turn events.TurnID `json:"turn,omitempty"`
		By   string        `json:"by,omitempty"`
	}
	approveBody struct {
		Call   events.CallID `json:"call,omitempty"`
		Digest string        `json:"digest,omitempty"`
		By     string        `json:"by,omitempty"`
	}
	denyBody struct {
		Call   events.CallID `json:"call,omitempty"`
		By     string        `json:"by,omitempty"`
		Reason string        `json:"reason,omitempty"`
	}
	retireBody struct {
		Reason string `json:"reason,omitempty"`
	}
	releaseBody struct {
		By string `json:"by,omitempty"`
	}
	openBody struct {
		Credit events.Money `json:"micro_dollars,string"`
	}
	creditBody struct {
		Amount events.Money `json:"micro_dollars,string"`
		By     string       `json:"by,omitempty"`
		Memo   string       `json:"memo,omitempty"`
	}
)

func (b *configBody) config() events.AgentConfig {
	var tools []events.ToolGrant
	for _, name := range b.Tools {
		tools = append(tools, events.ToolGrant{Name: name})
	}
	return events.AgentConfig{
		Model: b.Model, Prompt: b.Prompt, Workspace: b.Workspace, Tools: tools, Wallet: b.Wallet, Tenant: b.Tenant,
		Limits: b.Limits, Policy: b.Policy, Knowledge: b.Knowledge,
	}
}

func bodyOfConfig(c *events.AgentConfig) configBody {
	var tools []string
	for i := range c.Tools {
		tools = append(tools, c.Tools[i].Name)
	}
	return configBody{
		Model: c.Model, Prompt: c.Prompt, Workspace: c.Workspace, Tools: tools, Wallet: c.Wallet, Tenant: c.Tenant,
		Limits: c.Limits, Policy: c.Policy, Knowledge: c.Knowledge,
	}
}

func (b *configBody) command(m sagas.Meta) sagas.Command {
	return sagas.Configure{Meta: m, Config: b.config()}
}

func (b *cancelBody) command(m sagas.Meta) sagas.Command {
	return sagas.Cancel{Meta: m, Turn: b.Turn, By: b.By}
}

func (b *approveBody) command(m sagas.Meta) sagas.Command {
	return sagas.Approve{Meta: m, Call: b.Call, Digest: b.Digest, By: b.By}
}

func (b *denyBody) command(m sagas.Meta) sagas.Command {
	return sagas.Deny{Meta: m, Call: b.Call, By: b.By, Reason: b.Reason}
}

func (b *retireBody) command(m sagas.Meta) sagas.Command {
	return sagas.Retire{Meta: m, Reason: b.Reason}
}

func (b *releaseBody) command(m sagas.Meta) sagas.Command {
	return sagas.Release{Meta: m, By: b.By}
}

// agentCommand is the route of a command to the agent in the path.
func agentCommand[B any](s *server, command func(*B, sagas.Meta) sagas.Command) route {
	return func(w http.ResponseWriter, r *http.Request) error {
		var body B
		meta, err := s.read(w, r, s.limits.body, &body)
		if err != nil {
			return err
		}
		return s.do(w, r, events.AgentStream(events.AgentID(r.PathValue("agent"))), command(&body, meta))
	}
}

// create makes an agent. Without a name it gets one that follows from the command's id, so that a retry means the same agent.
func (s *server) create(w http.ResponseWriter, r *http.Request) error {
	var body createBody
	meta, err := s.read(w, r, s.limits.body, &body)
	if err != nil {
		return err
	}
	if body.Agent == "" {
		body.Agent = events.AgentID("a-" + events.HashBytes([]byte(meta.ID))[:16])
	}
	w.Header().Set("Location", "/v1/agents/"+string(body.Agent))
	return s.do(w, r, events.AgentStream(body.Agent), sagas.Create{Meta: meta, Agent: body.Agent, Config: body.Config.config()})
}

func (s *server) message(w http.ResponseWriter, r *http.Request) error {
	body := messageBody{Verb: events.Collect}
	meta, err := s.read(w, r, s.limits.message, &body)
	if err != nil {
		return err
	}
	return s.do(w, r, events.AgentStream(events.AgentID(r.PathValue("agent"))),
		sagas.Send{Meta: meta, Verb: body.Verb, From: body.From, Text: events.Text{Inline: body.Text}})
}

func (s *server) openWallet(w http.ResponseWriter, r *http.Request) error {
	var body openBody
	meta, err := s.read(w, r, s.limits.body, &body)
	if err != nil {
		return err
	}
	id := events.WalletID(r.PathValue("wallet"))
	w.Header().Set("Location", "/v1/wallets/"+string(id))
	return s.do(w, r, events.WalletStream(id), sagas.OpenWallet{Meta: meta, Wallet: id, Credit: body.Credit})
}

func (s *server) creditWallet(w http.ResponseWriter, r *http.Request) error {
	var body creditBody
	meta, err := s.read(w, r, s.limits.body, &body)
	if err != nil {
		return err
	}
	return s.do(w, r, events.WalletStream(events.WalletID(r.PathValue("wallet"))),
		sagas.Credit{Meta: meta, Amount: body.Amount, By: body.By, Memo: body.Memo})
}

// idempotencyKey is the header that carries a command's id.
const idempotencyKey = "Idempotency-Key"

// read reads a command's body and id. A command without an id gets one, which the answer tells.
func (s *server) read(w http.ResponseWriter, r *http.Request, limit int64, body any) (sagas.Meta, error) {
	if _, err := readQuery(r); err != nil {
		return sagas.Meta{}, err
	}
	keys := r.Header.Values(idempotencyKey)
	switch {
	case len(keys) > 1:
		return sagas.Meta{}, problem(codeMalformed, "there is more than one Idempotency-Key")
	case len(keys) == 0:
		keys = []string{uuid.NewString()}
	}
	id := events.CommandID(keys[0])
	if err := id.Validate(); err != nil {
		return sagas.Meta{}, problem(codeMalformed, "the Idempotency-Key is no command id: %v", err)
	}
	w.Header().Set(idempotencyKey, string(id))
	return sagas.Meta{ID: id, At: storage.Now()}, decode(w, r, limit, body)
}

// decideWithin is how long a command may take until it is stored; the host's own deadlines are shorter.
const decideWithin = 30 * time.Second

// do has the host decide a command and answers with the receipt: 201 when something was made, else 200.
func (s *server) do(w http.ResponseWriter, r *http.Request, stream events.Stream, command sagas.Command) error {
	origin, err := originOf(r)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), decideWithin)
	defer cancel()
	receipt, err := s.agents.Do(ctx, stream, command, origin)
	if err != nil {
		w.Header().Del("Location")
		return err
	}
	status := http.StatusOK
	if w.Header().Get("Location") != "" && !receipt.Duplicate {
		status = http.StatusCreated
	}
	return writeJSON(w, status, receipt)
}

// Headers that say where a command comes from.
const (
	actorHeader = "Life-Actor"
	traceHeader = "Traceparent"
)

// originOf reads who sends a command, for the record; "api" unless the client says otherwise. A malformed trace is left out, as
// the W3C's recommendation has it.
func originOf(r *http.Request) (actors.Origin, error) {
	origin := actors.Origin{Actor: "api"}
	if actor := r.Header.Get(actorHeader); actor != "" {
		if len(actor) > 64 || checkToken(actor) != nil {
			return origin, problem(codeMalformed, "the %s header is not 1 to 64 printable ASCII characters", actorHeader)
		}
		origin.Actor = actor
	}
	if trace := r.Header.Get(traceHeader); validTrace(trace) {
		origin.Traceparent = trace
	}
	return origin, nil
}

func validTrace(trace string) bool {
	if len(trace) != 55 {
		return false
	}
	matched, err := regexp.MatchString(`^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$`, trace)
	return err == nil && matched
}
