// Package jetstream is Watermill's publisher to NATS JetStream, as forwarding needs it: a stream that holds what is published, a
// subject for every event, and the event's id as Nats-Msg-Id, by which JetStream drops what is published twice within its window (two
// minutes unless the stream says otherwise). Consumers that look further back compare the ids themselves.
//
// The subject of an event is <prefix>.<stream>.<kind>, such as life.agent-demo.turn.started: "life.*.turn.>" are all turns, and
// "life.agent-demo.>" is all of one agent. Characters that a subject cannot hold are written "_", and so are dots in a stream's name.
package jetstream

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	watermillnats "github.com/ThreeDotsLabs/watermill-nats/v2/pkg/nats"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"

	"example.com/life/events"
)

// Publisher publishes to one JetStream stream.
type Publisher struct {
	message.Publisher
	prefix string
}

// confirmWithin is how long the server may take to confirm a message.
const confirmWithin = 5 * time.Second

// Open connects to a target such as nats://127.0.0.1:4222/life; what stands after the slash is the subjects' prefix. A JetStream
// stream that covers the prefix is used as it is; if there is none, one is made that keeps everything on disk. When the connection
// is lost it is made again, for as long as it takes; publishing fails meanwhile.
func Open(target string, log *slog.Logger) (*Publisher, error) {
	server, prefix, err := parse(target)
	if err != nil {
		return nil, err
	}
	connection, err := nats.Connect(server, nats.Name("life forward"), nats.MaxReconnects(-1), nats.ReconnectWait(time.Second))
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", redacted(server), err)
	}
	if err := provide(connection, prefix); err != nil {
		connection.Close()
		return nil, err
	}
	publisher, err := watermillnats.NewPublisherWithNatsConn(connection, watermillnats.PublisherPublishConfig{
		Marshaler:         &watermillnats.NATSMarshaler{},
		SubjectCalculator: watermillnats.DefaultSubjectCalculator,
		JetStream: watermillnats.JetStreamConfig{
			TrackMsgId: true, PublishOptions: []nats.PubOpt{nats.AckWait(confirmWithin)},
		},
	}, watermill.NewSlogLogger(log))
	if err != nil {
		connection.Close()
		return nil, fmt.Errorf("publish to %s: %w", redacted(server), err)
	}
	return &Publisher{publisher, prefix}, nil
}

// parse takes a target apart.
func parse(target string) (server, prefix string, err error) {
	const form = "such as nats://127.0.0.1:4222/life"
	u, err := url.Parse(target)
	if err != nil {
		return "", "", fmt.Errorf("target is no URL %s", form) // the error would show a password
	}
	prefix = strings.TrimPrefix(u.Path, "/")
	if u.Scheme != "nats" && u.Scheme != "tls" || u.Host == "" || u.RawQuery != "" {
		return "", "", fmt.Errorf("target %s is not %s", u.Redacted(), form)
	}
	for token := range strings.SplitSeq(prefix, ".") {
		if token == "" || token != word(token) {
			return "", "", fmt.Errorf("target %s names no prefix of subjects: it is not %s", u.Redacted(), form)
		}
	}
	u.Path = ""
	return u.String(), prefix, nil
}

func redacted(server string) string {
	u, err := url.Parse(server)
	if err != nil {
		return "the server"
	}
	return u.Redacted()
}

// provide makes sure that a stream holds what is published.
func provide(connection *nats.Conn, prefix string) error {
	js, err := connection.JetStream()
	if err != nil {
		return fmt.Errorf("use JetStream: %w", err)
	}
	all := prefix + ".>"
	if _, err := js.StreamNameBySubject(all); err == nil {
		return nil
	} else if !errors.Is(err, nats.ErrNoMatchingStream) && !errors.Is(err, nats.ErrStreamNotFound) {
		return fmt.Errorf("look for the stream of %s: %w; nats-server needs --jetstream", all, err)
	}
	_, err = js.AddStream(&nats.StreamConfig{Name: strings.ReplaceAll(prefix, ".", "-"), Subjects: []string{all}, Storage: nats.FileStorage})
	if err != nil {
		return fmt.Errorf("make a stream for %s: %w", all, err)
	}
	return nil
}

// Subject is where an event is published.
func (p *Publisher) Subject(e *events.Envelope) string {
	subject := p.prefix + "." + word(strings.ReplaceAll(string(e.Stream), ".", "_"))
	for token := range strings.SplitSeq(string(e.Kind), ".") {
		if token == "" {
			token = "_"
		}
		subject += "." + word(token)
	}
	return subject
}

// word writes what a subject's token cannot hold as "_".
func word(text string) string {
	return strings.Map(func(r rune) rune {
		if r <= ' ' || r == 0x7f || r == '*' || r == '>' || r == 0xfffd {
			return '_'
		}
		return r
	}, text)
}
