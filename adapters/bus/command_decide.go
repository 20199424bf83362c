package bus

import (
	"cmp"

	"example.com/life/events"
	"example.com/life/sagas"
)

// What each command is to its entity.

func (c *AgentConfig) config() events.AgentConfig {
	var tools []events.ToolGrant
	for _, name := range c.Tools {
		tools = append(tools, events.ToolGrant{Name: name})
	}
	return events.AgentConfig{
		Model: c.Model, Prompt: c.Prompt, Workspace: c.Workspace, Tools: tools, Wallet: c.Wallet, Tenant: c.Tenant,
		Limits: c.Limits, Policy: c.Policy, Knowledge: c.Knowledge,
	}
}

func (c *Create) decide(m sagas.Meta) (events.Stream, sagas.Command) {
	return events.AgentStream(c.Agent), sagas.Create{Meta: m, Agent: c.Agent, Config: c.Config.config()}
}

func (c *Configure) decide(m sagas.Meta) (events.Stream, sagas.Command) {
	return events.AgentStream(c.Agent), sagas.Configure{Meta: m, Config: c.Config.config()}
}

func (c *SendMessage) decide(m sagas.Meta) (events.Stream, sagas.Command) {
	return events.AgentStream(c.Agent),
		sagas.Send{Meta: m, Verb: cmp.Or(c.Verb, events.Collect), From: c.From, Text: events.Text{Inline: c.Text}}
}

func (c *Cancel) decide(m sagas.Meta) (events.Stream, sagas.Command) {
	return events.AgentStream(c.Agent), sagas.Cancel{Meta: m, Turn: c.Turn, By: c.By}
}

func (c *Approve) decide(m sagas.Meta) (events.Stream, sagas.Command) {
	return events.AgentStream(c.Agent), sagas.Approve{Meta: m, Call: c.Call, Digest: c.Digest, By: c.By}
}

func (c *Deny) decide(m sagas.Meta) (events.Stream, sagas.Command) {
	return events.AgentStream(c.Agent), sagas.Deny{Meta: m, Call: c.Call, By: c.By, Reason: c.Reason}
}

func (c *Retire) decide(m sagas.Meta) (events.Stream, sagas.Command) {
	return events.AgentStream(c.Agent), sagas.Retire{Meta: m, Reason: c.Reason}
}

func (c *Release) decide(m sagas.Meta) (events.Stream, sagas.Command) {
	return events.AgentStream(c.Agent), sagas.Release{Meta: m, By: c.By}
}

func (c *OpenWallet) decide(m sagas.Meta) (events.Stream, sagas.Command) {
	return events.WalletStream(c.Wallet), sagas.OpenWallet{Meta: m, Wallet: c.Wallet, Credit: c.Credit}
}

func (c *CreditWallet) decide(m sagas.Meta) (events.Stream, sagas.Command) {
	return events.WalletStream(c.Wallet), sagas.Credit{Meta: m, Amount: c.Amount, By: c.By, Memo: c.Memo}
}

// addressed reports a name that nobody can have.
func addressed(id interface{ Validate() error }) error {
	if err := id.Validate(); err != nil {
		return malformed("whom the command is for: %v", err)
	}
	return nil
}

// check reports a verb too: the agent would refuse it, and it is better said to who sends it.
func (c *SendMessage) check() error {
	switch c.Verb {
	case "", events.Collect, events.Followup, events.Steer, events.Interrupt:
		return addressed(c.Agent)
	}
	return malformed("verb %q is not collect, followup, steer or interrupt", bounded(string(c.Verb)))
}

func (c *Create) check() error       { return addressed(c.Agent) }
func (c *Configure) check() error    { return addressed(c.Agent) }
func (c *Cancel) check() error       { return addressed(c.Agent) }
func (c *Approve) check() error      { return addressed(c.Agent) }
func (c *Deny) check() error         { return addressed(c.Agent) }
func (c *Retire) check() error       { return addressed(c.Agent) }
func (c *Release) check() error      { return addressed(c.Agent) }
func (c *OpenWallet) check() error   { return addressed(c.Wallet) }
func (c *CreditWallet) check() error { return addressed(c.Wallet) }
