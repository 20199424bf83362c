package bus

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/ThreeDotsLabs/watermill/components/cqrs"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/uuid"

	"example.com/life/events"
	"example.com/life/sagas"
)

// Command is a command as it is published: the JSON of one of the structs below, under the struct's name as its type. The fields are
// those of the HTTP API's bodies, and whom the command is for.
type Command interface {
	// decide returns the stream whose entity decides the command, and the command.
	decide(sagas.Meta) (events.Stream, sagas.Command)
	// check reports what no command of the kind may have.
	check() error
}

// The commands.
type (
	// Create makes an agent.
	Create struct {
		Agent  events.AgentID `json:"agent"`
		Config AgentConfig    `json:"config"`
	}
	// Configure replaces an agent's configuration.
	Configure struct {
		Agent  events.AgentID `json:"agent"`
		Config AgentConfig    `json:"config"`
	}
	// SendMessage gives an agent a message.
	SendMessage struct {
		Agent events.AgentID `json:"agent"`
		Text  string         `json:"text"`
		Verb  events.Verb    `json:"verb,omitempty"` // empty: collect
		From  string         `json:"from,omitempty"`
	}
	// Cancel stops a turn.
	Cancel struct {
		Agent events.AgentID `json:"agent"`
		Turn  events.TurnID  `json:"turn,omitempty"` // empty: whichever runs
		By    string         `json:"by,omitempty"`
	}
	// Approve lets a waiting call run, or a paused turn go on.
	Approve struct {
		Agent  events.AgentID `json:"agent"`
		Call   events.CallID  `json:"call,omitempty"`
		Digest string         `json:"digest,omitempty"` // if set, only these arguments are approved
		By     string         `json:"by,omitempty"`
	}
	// Deny refuses a waiting call, or ends a paused turn.
	Deny struct {
		Agent  events.AgentID `json:"agent"`
		Call   events.CallID  `json:"call,omitempty"`
		By     string         `json:"by,omitempty"`
		Reason string         `json:"reason,omitempty"`
	}
	// Retire ends an agent's life.
	Retire struct {
		Agent  events.AgentID `json:"agent"`
		Reason string         `json:"reason,omitempty"`
	}
	// Release lets a quarantined agent go on.
	Release struct {
		Agent events.AgentID `json:"agent"`
		By    string         `json:"by,omitempty"`
	}
	// OpenWallet makes a wallet.
	OpenWallet struct {
		Wallet events.WalletID `json:"wallet"`
		Credit events.Money    `json:"micro_dollars,string"`
	}
	// CreditWallet adds money to a wallet.
	CreditWallet struct {
		Wallet events.WalletID `json:"wallet"`
		Amount events.Money    `json:"micro_dollars,string"`
		By     string          `json:"by,omitempty"`
		Memo   string          `json:"memo,omitempty"`
	}
	// AgentConfig is an agent's configuration, with its tools by name.
	AgentConfig struct {
		Model     string          `json:"model"`
		Prompt    string          `json:"prompt,omitempty"`
		Workspace string          `json:"workspace,omitempty"`
		Tools     []string        `json:"tools,omitempty"`
		Wallet    events.WalletID `json:"wallet,omitempty"`
		Tenant    events.TenantID `json:"tenant,omitempty"`
		Limits    events.Limits   `json:"limits,omitzero"`
		Policy    events.Policy   `json:"policy,omitzero"`

		Knowledge events.KnowledgeConfig `json:"knowledge,omitzero"`
	}
)

// vocabulary lists the commands, empty. It is the only list.
func vocabulary() []Command {
	return []Command{
		&Create{}, &Configure{}, &SendMessage{}, &Cancel{}, &Approve{}, &Deny{}, &Retire{}, &Release{}, &OpenWallet{}, &CreditWallet{},
	}
}

// Types are the names of all commands.
func Types() []string {
	var names []string
	for _, c := range vocabulary() {
		names = append(names, typeOf(c))
	}
	return names
}

func typeOf(command any) string {
	t := reflect.TypeOf(command)
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t.Name()
}

// Sizes of commands' JSON, in bytes, as over HTTP.
const (
	mostCommand = 1 << 20
	mostMessage = 8 << 20
)

// Decode reads the JSON of a command of a type. What is not as it should be is a *sagas.Malformed.
func Decode(kind string, data []byte) (Command, error) {
	all := vocabulary()
	i := slices.IndexFunc(all, func(c Command) bool { return typeOf(c) == kind })
	if i < 0 {
		return nil, malformed("there is no command %q; the commands are: %s", bounded(kind), strings.Join(Types(), ", "))
	}
	return all[i], decode(data, all[i])
}

func decode(data []byte, into Command) error {
	most := mostCommand
	if _, ok := into.(*SendMessage); ok {
		most = mostMessage
	}
	if len(data) > most {
		return malformed("the command has %d bytes, at most %d are allowed", len(data), most)
	}
	if err := sagas.ReadJSON(data, into); err != nil {
		return err
	}
	return into.check()
}

func malformed(format string, args ...any) error {
	return &sagas.Malformed{Detail: fmt.Sprintf(format, args...)}
}

// bounded shortens what was sent, for an error.
func bounded(text string) string {
	const most = 100
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}

// commandJSON is how the CQRS component writes and reads commands.
type commandJSON struct{}

var _ cqrs.CommandEventMarshaler = commandJSON{}

// Marshal implements cqrs.CommandEventMarshaler. "<" stays as it is, as everywhere in stored data.
func (commandJSON) Marshal(v any) (*message.Message, error) {
	var data bytes.Buffer
	encoder := json.NewEncoder(&data)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return nil, fmt.Errorf("encode command %s: %w", typeOf(v), err)
	}
	m := message.NewMessage(uuid.NewString(), bytes.TrimSpace(data.Bytes()))
	m.Metadata.Set(TypeKey, typeOf(v))
	return m, nil
}

// Unmarshal implements cqrs.CommandEventMarshaler, strictly.
func (commandJSON) Unmarshal(m *message.Message, v any) error {
	command, ok := v.(Command)
	if !ok {
		return malformed("%T is no command", v)
	}
	return decode(m.Payload, command)
}

// Name implements cqrs.CommandEventMarshaler.
func (commandJSON) Name(v any) string { return typeOf(v) }

// NameFromMessage implements cqrs.CommandEventMarshaler.
func (commandJSON) NameFromMessage(m *message.Message) string { return m.Metadata.Get(TypeKey) }
