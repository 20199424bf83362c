package server_test

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// dial connects without the official client, for what that cannot express.
func (w world) dial(t testing.TB, options ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(w.server.Addr(), append([]grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func (w world) raw(t testing.TB) streams.StreamsClient {
	t.Helper()
	return streams.NewStreamsClient(w.dial(t))
}

// numbered is the id of event n in scripts.
func numbered(n int) uuid.UUID { return uuid.NewSHA1(uuid.NameSpaceOID, []byte{byte(n)}) }

// write is one append of a script: "0em1" is event 0 with expected revision -1, "3any" event 3 with any, "2ex" with an existing stream;
// several events in one append are joined by "+" and have the expectation of the last: "0+1em1".
func (w world) write(t *testing.T, client *esdb.Client, stream, script string) error {
	t.Helper()
	digits := script[:len(script)-len(strings.TrimLeft(script, "0123456789+"))]
	options := esdb.AppendToStreamOptions{}
	switch rest := script[len(digits):]; rest {
	case "any":
		options.ExpectedRevision = esdb.Any{}
	case "ex":
		options.ExpectedRevision = esdb.StreamExists{}
	case "em1":
		options.ExpectedRevision = esdb.NoStream{}
	default:
		revision, err := strconv.ParseUint(rest[1:], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		options.ExpectedRevision = esdb.Revision(revision)
	}
	var batch []esdb.EventData
	for n := range strings.SplitSeq(digits, "+") {
		number, err := strconv.Atoi(n)
		if err != nil {
			t.Fatal(err)
		}
		e := event("scripted", `{}`)
		e.EventID = numbered(number)
		batch = append(batch, e)
	}
	_, err := client.AppendToStream(within(t), stream, options, batch...)
	return err
}

// TestExpectations plays the sequences by which EventStoreDB's own server tests its expectations and idempotency; "!" says that an
// append has to fail with a wrong expected version. The number is how many events the stream has in the end.
func TestExpectations(t *testing.T) {
	w := serve(t)
	client := w.client(t)
	const five = "0em1 1e0 2e1 3e2 4e3 5e4 "
	for i, test := range []struct {
		script string
		events int
	}{
		{five + "0em1", 6},
		{five + "0any", 6},
		{five + "0e5", 7},
		{five + "0e6!", 6},
		{five + "0e4!", 6},
		{"0em1 0e0", 2},
		{"0em1 0any", 1},
		{"0em1 0em1", 1},
		{"0em1 1e0 2e1 1any 1any", 3},
		{"0+1em1 0em1", 2},
		{"0+1em1 0any", 2},
		{"0+1em1 1e0", 2},
		{"0+1em1 1any", 2},
		{"0+1em1 0+1+2em1!", 2},
		{"0+1em1 0+2any!", 2}, // the first was seen and the second was not
		{"0em1 1em1!", 1},
		{"0ex!", 0},
		{"0em1 1ex", 2},
		{"0e3!", 0},
	} {
		t.Run(strings.TrimSpace(test.script), func(t *testing.T) {
			stream := fmt.Sprintf("script-%d", i)
			for step := range strings.SplitSeq(test.script, " ") {
				plain, refused := strings.CutSuffix(step, "!")
				if plain == "" {
					continue
				}
				err := w.write(t, client, stream, plain)
				var problem *esdb.Error
				if refused {
					if problem, _ = esdb.FromError(err); problem == nil || problem.Code() != esdb.ErrorCodeWrongExpectedVersion {
						t.Errorf("%s was answered %v", step, err)
					}
				} else if err != nil {
					t.Errorf("%s: %v", step, err)
				}
			}
			read, err := readStream(t, client, stream, esdb.ReadStreamOptions{}, 100)
			if len(read) != test.events || err != nil && test.events > 0 {
				t.Errorf("the stream has %d events, want %d: %v", len(read), test.events, err)
			}
		})
	}
}

// proposal is an append through the stubs.
func propose(t testing.TB, client streams.StreamsClient, messages ...*streams.AppendReq) (*streams.AppendResp, metadata.MD, error) {
	t.Helper()
	call, err := client.Append(within(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, message := range messages {
		if call.Send(message) != nil {
			break // the answer says why
		}
	}
	answer, err := call.CloseAndRecv()
	return answer, call.Trailer(), err
}

func to(stream string) *streams.AppendReq {
	return &streams.AppendReq{Content: &streams.AppendReq_Options_{Options: &streams.AppendReq_Options{
		StreamIdentifier: named(stream), ExpectedStreamRevision: &streams.AppendReq_Options_Any{Any: &shared.Empty{}},
	}}}
}

func named(stream string) *shared.StreamIdentifier {
	return &shared.StreamIdentifier{StreamName: []byte(stream)}
}

func idOf(id uuid.UUID) *shared.UUID {
	return &shared.UUID{Value: &shared.UUID_String_{String_: id.String()}}
}

func proposedEvent(change func(*streams.AppendReq_ProposedMessage)) *streams.AppendReq {
	message := &streams.AppendReq_ProposedMessage{
		Id: idOf(uuid.New()), Metadata: map[string]string{"type": "tested", "content-type": "application/json"}, Data: []byte(`{}`),
	}
	change(message)
	return &streams.AppendReq{Content: &streams.AppendReq_ProposedMessage_{ProposedMessage: message}}
}

func as(*streams.AppendReq_ProposedMessage) {}

func TestAppendRefused(t *testing.T) {
	client := serve(t).raw(t)
	for _, test := range []struct {
		name     string
		messages []*streams.AppendReq
		code     codes.Code
		trailers map[string]string
	}{
		{"nothing", nil, codes.InvalidArgument, nil},
		{"no content", []*streams.AppendReq{{}}, codes.InvalidArgument, nil},
		{"no options", []*streams.AppendReq{proposedEvent(as)}, codes.InvalidArgument, nil},
		{"no stream", []*streams.AppendReq{to("")}, codes.InvalidArgument, nil},
		{"metadata of nothing", []*streams.AppendReq{to("$$")}, codes.InvalidArgument, nil},
		{"a name with NUL", []*streams.AppendReq{to("a\x00b")}, codes.InvalidArgument, nil},
		{"a name that is no text", []*streams.AppendReq{to("a\xff")}, codes.InvalidArgument, nil},
		{"a long name", []*streams.AppendReq{to(strings.Repeat("n", 2000))}, codes.InvalidArgument, nil},
		{"everything", []*streams.AppendReq{to("$all")}, codes.PermissionDenied, map[string]string{"exception": "access-denied"}},
		{"options twice", []*streams.AppendReq{to("s"), to("s")}, codes.InvalidArgument, nil},
		{"no expectation", []*streams.AppendReq{{Content: &streams.AppendReq_Options_{Options: &streams.AppendReq_Options{StreamIdentifier: named("s")}}}}, codes.InvalidArgument, nil},
		{
			"no type",
			[]*streams.AppendReq{to("s"), proposedEvent(func(m *streams.AppendReq_ProposedMessage) { delete(m.Metadata, "type") })},
			codes.InvalidArgument,
			map[string]string{"exception": "missing-required-metadata-property", "required-metadata-properties": "type,content-type"},
		},
		{
			"no content type",
			[]*streams.AppendReq{to("s"), proposedEvent(func(m *streams.AppendReq_ProposedMessage) { delete(m.Metadata, "content-type") })},
			codes.InvalidArgument,
			map[string]string{"exception": "missing-required-metadata-property"},
		},
		{"empty type", []*streams.AppendReq{to("s"), proposedEvent(func(m *streams.AppendReq_ProposedMessage) { m.Metadata["type"] = "" })}, codes.Unknown, nil},
		{"empty id", []*streams.AppendReq{to("s"), proposedEvent(func(m *streams.AppendReq_ProposedMessage) { m.Id = idOf(uuid.Nil) })}, codes.Unknown, nil},
		{"no id", []*streams.AppendReq{to("s"), proposedEvent(func(m *streams.AppendReq_ProposedMessage) { m.Id = nil })}, codes.Unknown, nil},
		{"malformed id", []*streams.AppendReq{to("s"), proposedEvent(func(m *streams.AppendReq_ProposedMessage) {
			m.Id = &shared.UUID{Value: &shared.UUID_String_{String_: "no"}}
		})}, codes.InvalidArgument, nil},
		{
			"too much data",
			[]*streams.AppendReq{to("s"), proposedEvent(func(m *streams.AppendReq_ProposedMessage) { m.Data = make([]byte, 1<<20) })},
			codes.InvalidArgument,
			map[string]string{"exception": "maximum-append-size-exceeded", "maximum-append-size": "1048576"},
		},
		{
			"too much together",
			[]*streams.AppendReq{
				to("s"),
				proposedEvent(func(m *streams.AppendReq_ProposedMessage) { m.Data = make([]byte, 1<<19) }),
				proposedEvent(func(m *streams.AppendReq_ProposedMessage) { m.CustomMetadata = make([]byte, 1<<19) }),
			},
			codes.InvalidArgument,
			map[string]string{"exception": "maximum-append-size-exceeded"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, trailer, err := propose(t, client, test.messages...)
			if status.Code(err) != test.code {
				t.Errorf("answered %v, want %s", err, test.code)
			}
			wantTrailers(t, trailer, test.trailers)
		})
	}
}

func wantTrailers(t *testing.T, trailer metadata.MD, want map[string]string) {
	t.Helper()
	for name, value := range want {
		if got := trailer.Get(name); len(got) != 1 || got[0] != value {
			t.Errorf("trailer %s is %q, want %q", name, got, value)
		}
	}
}

// TestAppendLimit appends as much as is allowed to the byte.
func TestAppendLimit(t *testing.T) {
	client := serve(t).client(t)
	e := event("tested", "")
	e.Data = []byte(`"` + strings.Repeat("x", 1<<20-2-2*len(e.EventType)) + `"`)
	appendTo(t, client, "big", e)
	read, err := readStream(t, client, "big", esdb.ReadStreamOptions{}, 1)
	if err != nil || len(read) != 1 || string(read[0].Event.Data) != string(e.Data) {
		t.Errorf("read %d events: %v", len(read), err)
	}
}

// TestWrongExpected compares both forms of the answer with what was asked.
func TestWrongExpected(t *testing.T) {
	w := serve(t)
	appendTo(t, w.client(t), "there", eventsOf(3)...)
	client := w.raw(t)
	expecting := func(stream string, option *streams.AppendReq_Options) *streams.AppendReq {
		option.StreamIdentifier = named(stream)
		return &streams.AppendReq{Content: &streams.AppendReq_Options_{Options: option}}
	}
	empty := &shared.Empty{}
	for name, test := range map[string]struct {
		options *streams.AppendReq
		want    func(*streams.AppendResp_WrongExpectedVersion) bool
	}{
		"no stream, there is one": {
			expecting("there", &streams.AppendReq_Options{ExpectedStreamRevision: &streams.AppendReq_Options_NoStream{NoStream: empty}}),
			func(w *streams.AppendResp_WrongExpectedVersion) bool {
				return w.GetCurrentRevision() == 2 && w.GetCurrentRevision_20_6_0() == 2 && w.GetExpectedNoStream() != nil && w.GetExpectedRevision_20_6_0() == math.MaxUint64
			},
		},
		"a revision, another one": {
			expecting("there", &streams.AppendReq_Options{ExpectedStreamRevision: &streams.AppendReq_Options_Revision{Revision: 7}}),
			func(w *streams.AppendResp_WrongExpectedVersion) bool {
				return w.GetCurrentRevision() == 2 && w.GetExpectedRevision() == 7 && w.GetExpectedRevision_20_6_0() == 7
			},
		},
		"a revision, no stream": {
			expecting("none", &streams.AppendReq_Options{ExpectedStreamRevision: &streams.AppendReq_Options_Revision{Revision: 7}}),
			func(w *streams.AppendResp_WrongExpectedVersion) bool {
				return w.GetCurrentNoStream() != nil && w.GetNoStream_20_6_0() != nil && w.GetExpectedRevision() == 7
			},
		},
		"existing, none": {
			expecting("none", &streams.AppendReq_Options{ExpectedStreamRevision: &streams.AppendReq_Options_StreamExists{StreamExists: empty}}),
			func(w *streams.AppendResp_WrongExpectedVersion) bool {
				return w.GetCurrentNoStream() != nil && w.GetExpectedStreamExists() != nil && w.GetStreamExists_20_6_0() != nil
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			answer, _, err := propose(t, client, test.options, proposedEvent(as))
			if wrong := answer.GetWrongExpectedVersion(); err != nil || wrong == nil || !test.want(wrong) {
				t.Errorf("answered %v: %v", answer, err)
			}
		})
	}
}

// TestEmptyAppend checks the expectation and writes nothing; the position is that of the last event, as clients read one.
func TestEmptyAppend(t *testing.T) {
	w := serve(t)
	client := w.raw(t)
	written := appendTo(t, w.client(t), "there", eventsOf(2)...)
	for stream, want := range map[string]func(*streams.AppendResp_Success) bool{
		"empty": func(s *streams.AppendResp_Success) bool { return s.GetNoStream() != nil },
		"there": func(s *streams.AppendResp_Success) bool { return s.GetNoStream() == nil && s.GetCurrentRevision() == 1 },
	} {
		answer, _, err := propose(t, client, to(stream))
		if at := answer.GetSuccess().GetPosition(); err != nil || !want(answer.GetSuccess()) || at.GetCommitPosition() != written.CommitPosition || at.GetPreparePosition() != written.CommitPosition {
			t.Errorf("nothing appended to %s was answered %v: %v", stream, answer, err)
		}
	}
	answer := batched(t, batchCall(t, w), &streams.BatchAppendReq{CorrelationId: idOf(uuid.New()), Options: batchTo("empty"), IsFinal: true})
	if s := answer.GetSuccess(); s.GetNoStream() == nil || s.GetPosition().GetCommitPosition() != written.CommitPosition {
		t.Errorf("nothing appended in a batch was answered %v", answer)
	}
}

// TestTypeSize: a type counts two bytes for each of its units in UTF-16, not in UTF-8.
func TestTypeSize(t *testing.T) {
	w := serve(t)
	client := w.raw(t)
	for kind, units := range map[string]int{"t": 1, "éé": 2, "日本語": 3, "😀": 2} {
		for over := range 2 {
			size := 1<<20 - 2*units + over
			_, _, err := propose(t, client, to("sized"), proposedEvent(func(m *streams.AppendReq_ProposedMessage) {
				m.Metadata, m.Data = map[string]string{"type": kind, "content-type": "application/octet-stream"}, make([]byte, size)
			}))
			message := &streams.BatchAppendReq{CorrelationId: idOf(uuid.New()), Options: batchTo("sized"), ProposedMessages: batchEvents(1, size), IsFinal: true}
			message.ProposedMessages[0].Metadata["type"] = kind
			answer := batched(t, batchCall(t, w), message)
			if (err == nil) != (over == 0) || (answer.GetSuccess() != nil) != (over == 0) {
				t.Errorf("a type of %d units and %d bytes: %v; in a batch %v", units, size, err, answer)
			}
		}
	}
}

// TestAtOnce has many writers append batches of three through one client; each batch stays together in $all.
func TestAtOnce(t *testing.T) {
	client := serve(t).client(t)
	const writers, rounds = 8, 20
	done := make(chan error, writers)
	for n := range writers {
		go func() {
			var err error
			for range rounds {
				if _, failed := client.AppendToStream(context.Background(), fmt.Sprintf("w-%d", n%3), esdb.AppendToStreamOptions{}, eventsOf(3)...); failed != nil {
					err = failed
				}
			}
			done <- err
		}()
	}
	for range writers {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	read, err := readAll(t, client, esdb.ReadAllOptions{}, 10_000)
	if err != nil {
		t.Fatal(err)
	}
	next := map[string]uint64{}
	var users []*esdb.RecordedEvent
	for _, e := range read {
		if strings.HasPrefix(e.Event.StreamID, "w-") {
			users = append(users, e.Event)
		}
	}
	for i, e := range users {
		if e.EventNumber != next[e.StreamID] {
			t.Fatalf("event %d of %s follows %d", e.EventNumber, e.StreamID, next[e.StreamID])
		}
		next[e.StreamID]++
		if i%3 > 0 && users[i-1].StreamID != e.StreamID {
			t.Fatalf("a batch was torn at %d", i)
		}
	}
	if len(users) != writers*rounds*3 {
		t.Errorf("read %d events", len(users))
	}
}

// TestRefusalArrives: the official client is told why its append was refused, also when that was known before it had sent its events.
func TestRefusalArrives(t *testing.T) {
	client := serve(t).client(t)
	for range 100 {
		_, err := client.AppendToStream(within(t), "$all", esdb.AppendToStreamOptions{}, eventsOf(20)...)
		if !is(err, esdb.ErrorCodeAccessDenied) {
			t.Fatalf("answered %v", err)
		}
	}
}

// TestRefusalIsNotHeldUp: who neither sends on nor ends a call that is refused gets the status all the same.
func TestRefusalIsNotHeldUp(t *testing.T) {
	call, err := serve(t).raw(t).Append(within(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := call.Send(to("$all")); err != nil {
		t.Fatal(err)
	}
	if err := call.RecvMsg(&streams.AppendResp{}); status.Code(err) != codes.PermissionDenied {
		t.Errorf("answered %v", err)
	}
}
