package bus

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/ThreeDotsLabs/watermill/components/cqrs"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/uuid"

	"example.com/life/events"
	"example.com/life/sagas"
	"example.com/life/sagas/strictjson"
)

// vocabulary lists the commands that are taken from the bus, by the types that they are published under. It is the only list. The JSON
// of a command is what its tags say, and "agent" or "wallet": the id of the entity that it is for.
func vocabulary() []word {
	return []word{
		wordFor("Create", toAgent, sagas.Create{}),
		wordFor("Configure", toAgent, sagas.Configure{}),
		wordFor("SendMessage", toAgent, sagas.Send{Verb: events.Collect}),
		wordFor("Cancel", toAgent, sagas.Cancel{}),
		wordFor("Compact", toAgent, sagas.Compact{}),
		wordFor("Undo", toAgent, sagas.Undo{}),
		wordFor("Approve", toAgent, sagas.Approve{}),
		wordFor("Revoke", toAgent, sagas.Revoke{}),
		wordFor("Deny", toAgent, sagas.Deny{}),
		wordFor("Answer", toAgent, sagas.Answer{}),
		wordFor("Retire", toAgent, sagas.Retire{}),
		wordFor("Release", toAgent, sagas.Release{}),
		wordFor("OpenWallet", toWallet, sagas.OpenWallet{}),
		wordFor("CreditWallet", toWallet, sagas.Credit{}),
	}
}

// word is a command of the vocabulary.
type word struct {
	kind    string
	address func() address
	command reflect.Type
	read    func(data []byte, to address) (sagas.Command, error)
}

// wordFor lists a command; what is in empty holds unless a command's JSON says otherwise.
func wordFor[C sagas.Command](kind string, to func() address, empty C) word {
	return word{kind, to, reflect.TypeFor[C](), func(data []byte, to address) (sagas.Command, error) {
		c := empty
		if err := strictjson.Read(data, to, &c); err != nil {
			return nil, err
		}
		if maker, ok := any(&c).(sagas.Maker); ok {
			_, *maker.Makes() = to.stream().Split()
		}
		return c, nil
	}}
}

// address is the part of a command's JSON that says whom it is for.
type address interface {
	set(id string)
	stream() events.Stream
	Validate() error
}

type (
	agentAddress struct {
		Agent events.AgentID `json:"agent"`
	}
	walletAddress struct {
		Wallet events.WalletID `json:"wallet"`
	}
)

func toAgent() address  { return &agentAddress{} }
func toWallet() address { return &walletAddress{} }

func (a *agentAddress) set(id string)          { a.Agent = events.AgentID(id) }
func (a *agentAddress) stream() events.Stream  { return events.AgentStream(a.Agent) }
func (a *agentAddress) Validate() error        { return a.Agent.Validate() }
func (a *walletAddress) set(id string)         { a.Wallet = events.WalletID(id) }
func (a *walletAddress) stream() events.Stream { return events.WalletStream(a.Wallet) }
func (a *walletAddress) Validate() error       { return a.Wallet.Validate() }

// Types are the names of all commands.
func Types() []string {
	var names []string
	for _, w := range vocabulary() {
		names = append(names, w.kind)
	}
	return names
}

// Command is a command as it is published, and the stream whose entity decides it.
type Command struct {
	Stream  events.Stream
	Command sagas.Command
}

// Sizes of commands' JSON, in bytes, as over HTTP.
const (
	mostCommand = 1 << 20
	mostMessage = 8 << 20
)

// Decode reads the JSON of a command of a type. What is not as it should be is a *strictjson.Malformed.
func Decode(kind string, data []byte) (Command, error) {
	all := vocabulary()
	i := slices.IndexFunc(all, func(w word) bool { return w.kind == kind })
	if i < 0 {
		return Command{}, malformed("there is no command %q; the commands are: %s", events.Clip(kind, 100), strings.Join(Types(), ", "))
	}
	most := mostCommand
	if all[i].command == reflect.TypeFor[sagas.Send]() {
		most = mostMessage
	}
	if len(data) > most {
		return Command{}, malformed("the command has %d bytes, at most %d are allowed", len(data), most)
	}
	to := all[i].address()
	command, err := all[i].read(data, to)
	if err != nil {
		return Command{}, err
	}
	c := Command{to.stream(), command}
	return c, c.check()
}

// Encode writes a command as it is published: its type, and its JSON.
func (c Command) Encode() (kind string, data []byte, err error) {
	w, to, err := c.find()
	if err != nil {
		return "", nil, err
	}
	data, err = strictjson.Write(to, c.Command)
	if err != nil {
		return "", nil, fmt.Errorf("encode command %s: %w", w.kind, err)
	}
	return w.kind, data, nil
}

// find returns the word of a command, and its address.
func (c Command) find() (word, address, error) {
	all := vocabulary()
	i := slices.IndexFunc(all, func(w word) bool { return w.command == reflect.TypeOf(c.Command) })
	if i < 0 {
		return word{}, nil, malformed("%T is no command of the bus", c.Command)
	}
	to := all[i].address()
	_, id := c.Stream.Split()
	if to.set(id); to.stream() != c.Stream {
		return word{}, nil, malformed("command %s is not for %s", all[i].kind, c.Stream)
	}
	return all[i], to, nil
}

// check reports a name that nobody can have, and an unknown verb: the agent would refuse it, and the sender should hear of it at once.
func (c Command) check() error {
	_, to, err := c.find()
	if err != nil {
		return err
	}
	if err := to.Validate(); err != nil {
		return malformed("whom the command is for: %v", err)
	}
	if send, ok := c.Command.(sagas.Send); ok {
		switch send.Verb {
		case events.Collect, events.Followup, events.Steer, events.Interrupt:
		default:
			return malformed("verb %q is not collect, followup, steer or interrupt", events.Clip(string(send.Verb), 100))
		}
	}
	return nil
}

func malformed(format string, args ...any) error {
	return &strictjson.Malformed{Detail: fmt.Sprintf(format, args...)}
}

// received is a command that is read from the bus.
type received struct {
	kind string
	Command
}

// commandJSON is how the CQRS component writes and reads commands.
type commandJSON struct{}

var _ cqrs.CommandEventMarshaler = commandJSON{}

// Marshal implements cqrs.CommandEventMarshaler.
func (commandJSON) Marshal(v any) (*message.Message, error) {
	command, ok := v.(Command)
	if !ok {
		return nil, malformed("%T is no command", v)
	}
	kind, data, err := command.Encode()
	if err != nil {
		return nil, err
	}
	m := message.NewMessage(uuid.NewString(), data)
	m.Metadata.Set(TypeKey, kind)
	return m, nil
}

// Unmarshal implements cqrs.CommandEventMarshaler, strictly.
func (commandJSON) Unmarshal(m *message.Message, v any) (err error) {
	into, ok := v.(*received)
	if !ok {
		return malformed("%T is no command", v)
	}
	into.Command, err = Decode(into.kind, m.Payload)
	return err
}

// Name implements cqrs.CommandEventMarshaler.
func (commandJSON) Name(v any) string {
	if r, ok := v.(*received); ok {
		return r.kind
	}
	if command, ok := v.(Command); ok {
		w, _, _ := command.find() //nolint:errcheck // Marshal reports it
		return w.kind
	}
	return ""
}

// NameFromMessage implements cqrs.CommandEventMarshaler.
func (commandJSON) NameFromMessage(m *message.Message) string { return m.Metadata.Get(TypeKey) }
