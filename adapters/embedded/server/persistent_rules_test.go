package server_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/persistent"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// What EventStoreDB 24.10 answers about groups that no official client asks in this way; the names in the tests are those of the rules of
// the recorded cases.

func (w world) groups(t testing.TB) persistent.PersistentSubscriptionsClient {
	return persistent.NewPersistentSubscriptionsClient(w.dial(t))
}

func identified(stream string) *shared.StreamIdentifier {
	return &shared.StreamIdentifier{StreamName: []byte(stream)}
}

// plainSettings are settings that are checkpointed at every answer.
func plainSettings() *persistent.CreateReq_Settings {
	return &persistent.CreateReq_Settings{
		MaxRetryCount: 3, MinCheckpointCount: 1, MaxCheckpointCount: 1, LiveBufferSize: 500, ReadBatchSize: 20, HistoryBufferSize: 500, ConsumerStrategy: "RoundRobin",
		MessageTimeout: &persistent.CreateReq_Settings_MessageTimeoutMs{MessageTimeoutMs: 30_000}, CheckpointAfter: &persistent.CreateReq_Settings_CheckpointAfterMs{},
	}
}

// ofStream is a request to make a group of a stream from its start; change may change the settings.
func ofStream(stream, group string, change ...func(*persistent.CreateReq_Settings)) *persistent.CreateReq {
	settings := plainSettings()
	for _, apply := range change {
		apply(settings)
	}
	return &persistent.CreateReq{Options: &persistent.CreateReq_Options{
		GroupName: group, Settings: settings, StreamOption: &persistent.CreateReq_Options_Stream{Stream: &persistent.CreateReq_StreamOptions{
			StreamIdentifier: identified(stream), RevisionOption: &persistent.CreateReq_StreamOptions_Start{},
		}},
	}}
}

// ofAll is a request to make a group of everything from a position.
func ofAll(group string, commit, prepare uint64) *persistent.CreateReq {
	return &persistent.CreateReq{Options: &persistent.CreateReq_Options{
		GroupName: group, Settings: plainSettings(), StreamOption: &persistent.CreateReq_Options_All{All: &persistent.CreateReq_AllOptions{
			AllOption: &persistent.CreateReq_AllOptions_Position{Position: &persistent.CreateReq_Position{CommitPosition: commit, PreparePosition: prepare}},
			FilterOption: &persistent.CreateReq_AllOptions_Filter{Filter: &persistent.CreateReq_AllOptions_FilterOptions{
				Filter: &persistent.CreateReq_AllOptions_FilterOptions_StreamIdentifier{StreamIdentifier: &persistent.CreateReq_AllOptions_FilterOptions_Expression{Prefix: []string{"s"}}},
			}},
		}},
	}}
}

// updated is the same as a request to change the group.
func updated(t testing.TB, request *persistent.CreateReq) *persistent.UpdateReq {
	t.Helper()
	settings := &persistent.UpdateReq_Settings{}
	recode(t, request.Options.Settings, settings)
	options := &persistent.UpdateReq_Options{GroupName: request.Options.GroupName, Settings: settings}
	switch from := request.Options.StreamOption.(type) {
	case *persistent.CreateReq_Options_Stream:
		stream := &persistent.UpdateReq_StreamOptions{}
		recode(t, from.Stream, stream)
		options.StreamOption = &persistent.UpdateReq_Options_Stream{Stream: stream}
	case *persistent.CreateReq_Options_All:
		all := &persistent.UpdateReq_AllOptions{}
		recode(t, &persistent.CreateReq_AllOptions{AllOption: from.All.AllOption}, all)
		options.StreamOption = &persistent.UpdateReq_Options_All{All: all}
	default:
		options.StreamIdentifier = request.Options.StreamIdentifier //nolint:staticcheck // what older clients send
	}
	return &persistent.UpdateReq{Options: options}
}

// recode reads a message as one of another type whose fields have the same numbers.
func recode(t testing.TB, from, to proto.Message) {
	t.Helper()
	data, err := proto.Marshal(from)
	if err == nil {
		err = proto.Unmarshal(data, to)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func infoOf(t testing.TB, client persistent.PersistentSubscriptionsClient, stream, group string) (*persistent.SubscriptionInfo, error) {
	t.Helper()
	options := &persistent.GetInfoReq_Options{GroupName: group, StreamOption: &persistent.GetInfoReq_Options_StreamIdentifier{StreamIdentifier: identified(stream)}}
	answer, err := client.GetInfo(within(t), &persistent.GetInfoReq{Options: options})
	return answer.GetSubscriptionInfo(), err
}

// rawConsumer is a consumer's call; its first answer was taken.
type rawConsumer struct {
	persistent.PersistentSubscriptions_ReadClient
	t  testing.TB
	id string // of the subscription
}

func joined(t testing.TB, client persistent.PersistentSubscriptionsClient, stream, group string, headers ...string) rawConsumer {
	t.Helper()
	call, err := client.Read(metadata.AppendToOutgoingContext(within(t), headers...))
	if err != nil {
		t.Fatal(err)
	}
	options := &persistent.ReadReq_Options{
		GroupName: group, BufferSize: 10, StreamOption: &persistent.ReadReq_Options_StreamIdentifier{StreamIdentifier: identified(stream)},
		UuidOption: &persistent.ReadReq_Options_UUIDOption{Content: &persistent.ReadReq_Options_UUIDOption_String_{}},
	}
	if stream == "$all" {
		options.StreamOption = &persistent.ReadReq_Options_All{}
	}
	if err := call.Send(&persistent.ReadReq{Content: &persistent.ReadReq_Options_{Options: options}}); err != nil {
		t.Fatal(err)
	}
	first, err := call.Recv()
	if err != nil {
		t.Fatal(err)
	}
	return rawConsumer{PersistentSubscriptions_ReadClient: call, t: t, id: first.GetSubscriptionConfirmation().GetSubscriptionId()}
}

func (c rawConsumer) next() *persistent.ReadResp_ReadEvent {
	c.t.Helper()
	answer, err := c.Recv()
	if err != nil {
		c.t.Fatal(err)
	}
	return answer.GetEvent()
}

func (c rawConsumer) ack(ids ...*shared.UUID) {
	c.t.Helper()
	if err := c.Send(&persistent.ReadReq{Content: &persistent.ReadReq_Ack_{Ack: &persistent.ReadReq_Ack{Ids: ids}}}); err != nil {
		c.t.Fatal(err)
	}
}

func (c rawConsumer) nack(action persistent.ReadReq_Nack_Action, ids ...*shared.UUID) {
	c.t.Helper()
	if err := c.Send(&persistent.ReadReq{Content: &persistent.ReadReq_Nack_{Nack: &persistent.ReadReq_Nack{Ids: ids, Action: action, Reason: "a reason"}}}); err != nil {
		c.t.Fatal(err)
	}
}

// group-settings-harmless: these are accepted, told again, and do not keep anything from being delivered, answered and checkpointed.
func TestPersistentHarmlessSettings(t *testing.T) {
	w := serve(t)
	client, official := w.groups(t), w.client(t)
	appendTo(t, official, "s", eventsOf(3)...)
	for name, change := range map[string]func(*persistent.CreateReq_Settings){
		"minimum over maximum": func(s *persistent.CreateReq_Settings) { s.MinCheckpointCount, s.MaxCheckpointCount = 5000, 2 },
		"negative minimum":     func(s *persistent.CreateReq_Settings) { s.MinCheckpointCount = -1 },
		"maximum 0":            func(s *persistent.CreateReq_Settings) { s.MaxCheckpointCount = 0 },
		"negative maximum":     func(s *persistent.CreateReq_Settings) { s.MaxCheckpointCount = -7 },
		"negative retries":     func(s *persistent.CreateReq_Settings) { s.MaxRetryCount = -1 },
		"read batch 0":         func(s *persistent.CreateReq_Settings) { s.ReadBatchSize, s.HistoryBufferSize = 0, 1 },
		"negative checkpoint after": func(s *persistent.CreateReq_Settings) {
			s.CheckpointAfter = &persistent.CreateReq_Settings_CheckpointAfterTicks{CheckpointAfterTicks: -25_000_000}
		},
	} {
		t.Run(name, func(t *testing.T) {
			request := ofStream("s", name, change)
			if _, err := client.Create(within(t), request); err != nil {
				t.Fatal(err)
			}
			if _, err := client.Update(within(t), updated(t, request)); err != nil {
				t.Fatal(err)
			}
			want := request.Options.Settings
			told, err := infoOf(t, client, "s", name)
			if err != nil || told.MinCheckPointCount != want.MinCheckpointCount || told.MaxCheckPointCount != want.MaxCheckpointCount || told.MaxRetryCount != want.MaxRetryCount ||
				told.ReadBatchSize != want.ReadBatchSize || told.BufferSize != want.HistoryBufferSize || int64(told.CheckPointAfterMilliseconds) != want.GetCheckpointAfterTicks()/10_000 {
				t.Errorf("told is %+v, %v", told, err)
			}
			member := joined(t, client, "s", name)
			member.nack(persistent.ReadReq_Nack_Retry, member.next().Event.Id)
			if want.MaxRetryCount >= 0 {
				member.ack(member.next().Event.Id)
			}
			member.ack(member.next().Event.Id)
			member.ack(member.next().Event.Id)
			eventually(t, official, "s", name, "all is done", func(i *esdb.PersistentSubscriptionInfo) bool {
				return i.Stats.LastCheckpointedEventRevision != nil && (*i.Stats.LastCheckpointedEventRevision == 2 || want.MinCheckpointCount > 3) &&
					(i.Stats.ParkedMessagesCount == 1) == (want.MaxRetryCount < 0)
			})
		})
	}
}

// revision-2-63, group-on-all-by-name, and positions that cannot be.
func TestPersistentRefusesWhatCannotBe(t *testing.T) {
	w := serve(t)
	client := w.groups(t)
	last := appendTo(t, w.client(t), "s", eventsOf(2)...).CommitPosition
	from := func(revision uint64) *persistent.CreateReq {
		request := ofStream("s", "g")
		request.Options.GetStream().RevisionOption = &persistent.CreateReq_StreamOptions_Revision{Revision: revision}
		return request
	}
	old := func(stream string, revision uint64) *persistent.CreateReq {
		request := ofStream("s", "g")
		request.Options.StreamOption, request.Options.StreamIdentifier = nil, identified(stream) //nolint:staticcheck // what older clients send
		request.Options.Settings.Revision = revision                                             //nolint:staticcheck // what older clients send
		return request
	}
	for _, existing := range []*persistent.CreateReq{ofStream("s", "g"), ofAll("g", 0, 0)} { // an update is refused for what it says, not because there is none
		if _, err := client.Create(within(t), existing); err != nil {
			t.Fatal(err)
		}
	}
	for name, test := range map[string]struct {
		request *persistent.CreateReq
		want    codes.Code
	}{
		"revision 2^63":                  {from(1 << 63), codes.Unknown},
		"revision 2^64-2":                {from(1<<64 - 2), codes.Unknown},
		"revision 2^63 the old way":      {old("s", 1<<63), codes.Unknown},
		"position 2^63":                  {ofAll("g", 1<<63, 0), codes.Unknown},
		"prepare over commit":            {ofAll("g", last, last+1), codes.Unknown},
		"prepare 2^64-1 alone":           {ofAll("g", last, 1<<64-1), codes.Unknown},
		"commit 2^64-1 alone":            {ofAll("g", 1<<64-1, last), codes.Unknown},
		"position beyond the last":       {ofAll("g", last+1<<40, 0), codes.Internal},
		"everything by name":             {ofStream("$all", "g"), codes.Unknown},
		"everything by name the old way": {old("$all", 0), codes.Unknown},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := client.Update(within(t), updated(t, test.request))
			wantStatus(t, err, test.want)
			test.request.Options.GroupName = "new " + name
			_, err = client.Create(within(t), test.request)
			wantStatus(t, err, test.want)
			for _, stream := range []string{"s", "$all"} {
				_, err = infoOf(t, client, stream, test.request.Options.GroupName)
				wantStatus(t, err, codes.NotFound)
			}
		})
	}
	for _, stream := range []string{"s", "$all"} { // which names the group of everything in this call
		if _, err := infoOf(t, client, stream, "g"); err != nil {
			t.Error(err)
		}
	}
	_, err := client.Delete(within(t), &persistent.DeleteReq{Options: &persistent.DeleteReq_Options{
		GroupName: "g", StreamOption: &persistent.DeleteReq_Options_StreamIdentifier{StreamIdentifier: identified("$all")},
	}})
	wantStatus(t, err, codes.Unknown)
}

// A group of $all begins with the first event that is not before the place it is told, be there an event at it or not, and tells both numbers
// again.
func TestPersistentBeginsAtAPosition(t *testing.T) {
	w := serve(t)
	client := w.groups(t)
	first := appendTo(t, w.client(t), "s-1", eventsOf(1)...).CommitPosition
	appendTo(t, w.client(t), "t", eventsOf(1)...)
	second := appendTo(t, w.client(t), "s-2", eventsOf(1)...).CommitPosition
	for name, test := range map[string]struct {
		commit, prepare uint64
		from            string
		want            uint64
	}{
		"the start":           {0, 0, "C:0/P:0", first},
		"an event":            {second, second, fmt.Sprintf("C:%d/P:%d", second, second), second},
		"(c, 0) of an event":  {second, 0, fmt.Sprintf("C:%d/P:0", second), second},
		"between two events":  {first + 1, first, fmt.Sprintf("C:%d/P:%d", first+1, first), second},
		"before every event":  {1, 0, "C:1/P:0", first},
		"the one that is out": {first, 1, fmt.Sprintf("C:%d/P:1", first), first},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := client.Create(within(t), ofAll(name, test.commit, test.prepare)); err != nil {
				t.Fatal(err)
			}
			told, err := infoOf(t, client, "$all", name)
			if err != nil || told.StartFrom != test.from {
				t.Errorf("it starts from %s, %v, want %s", told.GetStartFrom(), err, test.from)
			}
			member := joined(t, client, "$all", name)
			if e := member.next(); e.Event.CommitPosition != test.want {
				t.Errorf("first is the event at %d, want %d", e.Event.CommitPosition, test.want)
			}
		})
	}
}

// group-tombstoned, and a group whose stream is deleted for good while it runs.
func TestPersistentTombstoned(t *testing.T) {
	w := serve(t)
	client, official := w.groups(t), w.client(t)
	appendTo(t, official, "s", eventsOf(1)...)
	if _, err := client.Create(within(t), ofStream("s", "before")); err != nil {
		t.Fatal(err)
	}
	member := joined(t, client, "s", "before")
	member.ack(member.next().Event.Id)
	if _, err := official.TombstoneStream(within(t), "s", esdb.TombstoneStreamOptions{}); err != nil {
		t.Fatal(err)
	}
	end := member.next().Event
	if end.Metadata["type"] != "$streamDeleted" {
		t.Errorf("last is %+v, want the end of the stream", end)
	}
	member.ack(end.Id)
	for _, change := range []func() error{
		func() error { _, err := client.Create(within(t), ofStream("s", "after")); return err },
		func() error { _, err := client.Update(within(t), updated(t, ofStream("s", "after"))); return err },
	} {
		if err := change(); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			dropped := joined(t, client, "s", "after")
			_, err := dropped.Recv()
			if wantStatus(t, err, codes.Canceled); !slices.Equal(dropped.Trailer()["exception"], []string{"persistent-subscription-dropped"}) {
				t.Errorf("the trailers are %v", dropped.Trailer())
			}
		}
	}
	if told, err := infoOf(t, client, "s", "before"); err != nil || len(told.Connections) != 1 {
		t.Errorf("who saw the end is %+v, %v", told, err)
	}
}

// group-connection-details, group-total-items, group-subscription-id.
func TestPersistentTellsOfItsConsumers(t *testing.T) {
	w := serve(t)
	client := w.groups(t)
	appendTo(t, w.client(t), "s", eventsOf(4)...)
	if _, err := client.Create(within(t), ofStream("s", "g", func(s *persistent.CreateReq_Settings) { s.ExtraStatistics = true })); err != nil {
		t.Fatal(err)
	}
	one := joined(t, client, "s", "g", "connection-name", "one")
	for i := range 4 {
		if e := one.next(); i == 0 {
			one.ack(e.Event.Id)
		} else if i == 1 {
			one.nack(persistent.ReadReq_Nack_Retry, e.Event.Id)
		}
	}
	one.next()
	other := joined(t, client, "s", "g")
	if one.id != "s::g" || other.id != "s::g" {
		t.Errorf("the subscriptions are called %s and %s, want s::g", one.id, other.id)
	}
	told, err := infoOf(t, client, "s", "g")
	if err != nil || len(told.Connections) != 2 {
		t.Fatalf("told is %+v, %v", told, err)
	}
	a, b := told.Connections[0], told.Connections[1]
	if a.ConnectionName != "one" || b.ConnectionName != "<unknown>" || a.Username != "system" || b.Username != "system" || a.From != "" {
		t.Errorf("the consumers are %+v and %+v", a, b)
	}
	if told.TotalItems != 5 || a.TotalItems != 5 || b.TotalItems != 0 || a.AvailableSlots != 7 || a.InFlightMessages != 3 || told.OutstandingMessagesCount != 3 {
		t.Errorf("told is %+v", told)
	}
	var keys []string
	for _, m := range a.ObservedMeasurements {
		keys = append(keys, m.Key)
	}
	want := "Mean Median Fastest Quintile 1 Quintile 2 Quintile 3 Quintile 4 Quintile 5 90% 95% 99% 99.5% 99.9% Highest"
	if got := strings.Join(keys, " "); got != want || len(b.ObservedMeasurements) != 0 {
		t.Errorf("measured are %s, want %s", got, want)
	}
}

// group-parked-details, and resolved-positions: for consumers both records have the link's position.
func TestPersistentParkedDetails(t *testing.T) {
	for _, source := range []string{"links", "$all"} {
		t.Run(source, func(t *testing.T) {
			w := serve(t)
			client, official := w.groups(t), w.client(t)
			appendTo(t, official, "s", eventsOf(3)...)
			request := ofStream("links", "g")
			if source == "$all" {
				request = ofAll("g", 0, 0)
				request.Options.GetAll().FilterOption = &persistent.CreateReq_AllOptions_Filter{Filter: &persistent.CreateReq_AllOptions_FilterOptions{
					Filter: &persistent.CreateReq_AllOptions_FilterOptions_StreamIdentifier{StreamIdentifier: &persistent.CreateReq_AllOptions_FilterOptions_Expression{Prefix: []string{"links"}}},
				}}
			}
			request.Options.Settings.ResolveLinks = true
			if _, err := client.Create(within(t), request); err != nil {
				t.Fatal(err)
			}
			link := func(target string) esdb.EventData {
				return esdb.EventData{EventID: uuid.New(), EventType: "$>", ContentType: esdb.ContentTypeBinary, Data: []byte(target)}
			}
			appendTo(t, official, "links", link("2@s"), link("1@s"))
			member := joined(t, client, source, "g")
			together := func(e *persistent.ReadResp_ReadEvent) {
				t.Helper()
				if e.Event.CommitPosition != e.Link.CommitPosition || e.Event.PreparePosition != e.Link.CommitPosition || e.GetCommitPosition() != e.Link.CommitPosition {
					t.Errorf("the positions of %+v differ", e)
				}
			}
			for range 2 {
				e := member.next()
				together(e)
				member.nack(persistent.ReadReq_Nack_Park, e.Link.Id)
				eventuallyParked(t, client, source, int64(e.Link.StreamRevision)+1)
			}
			stream := "$persistentsubscription-" + source + "::g-parked"
			want := []string{`"reason":"parked by its consumer: a reason"}`, `"subscriptionEventNumber":1}`}
			for i, e := range readAllOf(t, official, stream) {
				if text := string(e.Event.UserMetadata); !strings.HasPrefix(text, `{"added":"`) || !strings.HasSuffix(text, want[i]) {
					t.Errorf("parked link %d has the metadata %s, want %s at the end", i, text, want[i])
				}
			}
			replay := &persistent.ReplayParkedReq{Options: &persistent.ReplayParkedReq_Options{
				GroupName:    "g",
				StreamOption: &persistent.ReplayParkedReq_Options_StreamIdentifier{StreamIdentifier: identified(source)}, StopAtOption: &persistent.ReplayParkedReq_Options_NoLimit{},
			}}
			if _, err := client.ReplayParked(within(t), replay); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				e := member.next()
				together(e)
				member.nack(persistent.ReadReq_Nack_Park, e.Link.Id)
			}
			acl := `{"$tb":2,"$acl":{"$r":"$admins","$w":"$admins","$d":"$admins","$mr":"$admins","$mw":"$admins"}}`
			for ctx := within(t); ; {
				set, err := readStream(t, official, "$$"+stream, esdb.ReadStreamOptions{}, 1)
				if err == nil && len(set) == 1 && string(set[0].Event.Data) == acl {
					break
				}
				if ctx.Err() != nil {
					t.Fatalf("the metadata of the parked stream are %+v, %v", set, err)
				}
			}
			// What was replayed and is parked again is numbered by its place in the parked stream.
			for i, e := range readAllOf(t, official, stream) {
				if text := string(e.Event.UserMetadata); !strings.HasSuffix(text, want[i]) || e.Event.EventNumber != uint64(2+i) {
					t.Errorf("parked link %d has the metadata %s, want %s at the end", e.Event.EventNumber, text, want[i])
				}
			}
		})
	}
}

func readAllOf(t testing.TB, client *esdb.Client, stream string) []*esdb.ResolvedEvent {
	t.Helper()
	read, err := readStream(t, client, stream, esdb.ReadStreamOptions{}, 100)
	if err != nil || len(read) == 0 {
		t.Fatalf("read %s: %d events, %v", stream, len(read), err)
	}
	return read
}

func eventuallyParked(t testing.TB, client persistent.PersistentSubscriptionsClient, stream string, count int64) {
	t.Helper()
	for ctx := within(t); ; {
		told, err := infoOf(t, client, stream, "g")
		if err != nil || ctx.Err() != nil {
			t.Fatalf("%d are not parked: %+v, %v", count, told, err)
		}
		if told.ParkedMessageCount == count {
			return
		}
	}
}

// group-replay-negative, group-replay-nothing.
func TestPersistentReplayRefused(t *testing.T) {
	w := serve(t)
	client := w.groups(t)
	for _, request := range []*persistent.CreateReq{ofStream("s", "g"), ofAll("g", 0, 0)} {
		if _, err := client.Create(within(t), request); err != nil {
			t.Fatal(err)
		}
	}
	for _, stream := range []string{"s", "$all"} {
		for _, group := range []string{"g", "none"} {
			options := &persistent.ReplayParkedReq_Options{GroupName: group, StreamOption: &persistent.ReplayParkedReq_Options_StreamIdentifier{StreamIdentifier: identified(stream)}}
			_, err := client.ReplayParked(within(t), &persistent.ReplayParkedReq{Options: options})
			wantStatus(t, err, codes.Unknown)
			options.StopAtOption = &persistent.ReplayParkedReq_Options_StopAt{StopAt: -1}
			var trailer metadata.MD
			_, err = client.ReplayParked(within(t), &persistent.ReplayParkedReq{Options: options}, grpc.Trailer(&trailer))
			wantStatus(t, err, codes.Internal)
			if trailer["exception"][0] != "persistent-subscription-failed" || trailer["stream-name"][0] != stream || trailer["group-name"][0] != group || trailer["reason"][0] == "" {
				t.Errorf("the trailers are %v", trailer)
			}
		}
	}
}

// replay-permission: whoever may read the stream may not replay for that, and whoever operates groups need not be able to read it.
func TestPersistentReplayIsForOperators(t *testing.T) {
	s := secure(t)
	admin := s.as(t, "admin:password@", "")
	appendTo(t, admin, "orders", eventsOf(1)...)
	group(t, admin, "orders", "g")
	acl := esdb.Acl{}
	acl.AddReadRoles("someone")
	meta := esdb.StreamMetadata{}
	meta.SetAcl(acl)
	if _, err := admin.SetStreamMetadata(within(t), "orders", esdb.AppendToStreamOptions{}, meta); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]codes.Code{"admin:password@": codes.OK, "ops:password@": codes.OK, "someone:password@": codes.PermissionDenied, "": codes.PermissionDenied} {
		for _, group := range []string{"g", "none"} {
			err := s.as(t, name, "").ReplayParkedMessages(within(t), "orders", group, esdb.ReplayParkedMessagesOptions{})
			if group == "none" && want == codes.OK {
				wantStatus(t, err, codes.NotFound)
			} else {
				wantStatus(t, err, want)
			}
		}
	}
}

// uuid-option, and a call that ends before it says anything.
func TestPersistentReadSaysTooLittle(t *testing.T) {
	client := serve(t).groups(t)
	if _, err := client.Create(within(t), ofStream("s", "g")); err != nil {
		t.Fatal(err)
	}
	answer := func(options *persistent.ReadReq_Options) error {
		ctx, cancel := context.WithCancel(within(t))
		defer cancel()
		call, err := client.Read(ctx)
		if err != nil {
			return err
		}
		if options == nil {
			err = call.CloseSend()
		} else {
			err = call.Send(&persistent.ReadReq{Content: &persistent.ReadReq_Options_{Options: options}})
		}
		if err == nil {
			_, err = call.Recv()
		}
		return err
	}
	options := &persistent.ReadReq_Options{GroupName: "g", BufferSize: 1, StreamOption: &persistent.ReadReq_Options_StreamIdentifier{StreamIdentifier: identified("s")}}
	wantStatus(t, answer(options), codes.Unknown)
	options.UuidOption = &persistent.ReadReq_Options_UUIDOption{} // structured
	wantStatus(t, answer(options), codes.OK)
	if err := answer(nil); !errors.Is(err, io.EOF) {
		t.Errorf("a call without a request ends with %v (%s)", err, status.Code(err))
	}
}

// link-malformed, for consumers: what is no link is an event, whatever its type says.
func TestPersistentLinksThatAreNone(t *testing.T) {
	w := serve(t)
	client, official := w.groups(t), w.client(t)
	appendTo(t, official, "s", eventsOf(2)...)
	for _, request := range []*persistent.CreateReq{ofStream("s-links", "g"), ofAll("g", 0, 0)} {
		request.Options.Settings.ResolveLinks = true
		if _, err := client.Create(within(t), request); err != nil {
			t.Fatal(err)
		}
	}
	var batch []esdb.EventData
	for _, data := range []string{"1@s", "x@s", "nowhere", "9@s", "0@missing"} {
		batch = append(batch, esdb.EventData{EventID: uuid.New(), EventType: "$>", ContentType: esdb.ContentTypeBinary, Data: []byte(data)})
	}
	appendTo(t, official, "s-links", batch...)
	for _, source := range []string{"s-links", "$all"} {
		member := joined(t, client, source, "g")
		if source == "$all" { // it has the stream s too
			member.next()
			member.next()
		}
		for i, want := range []string{"both", "event", "event", "link", "link"} {
			e := member.next()
			got := "both"
			if e.Link == nil {
				got = "event"
			} else if e.Event == nil {
				got = "link"
			}
			if got != want {
				t.Errorf("%q of %s is delivered as %s, want %s", batch[i].Data, source, got, want)
			}
			id := e.Link.GetId()
			if id == nil {
				id = e.Event.GetId()
			}
			member.nack(persistent.ReadReq_Nack_Park, id)
		}
		eventuallyParked(t, client, source, int64(len(batch)))
		parked := readAllOf(t, official, "$persistentsubscription-"+source+"::g-parked")
		for i, want := range []string{"1@s", "1@s-links", "2@s-links", "9@s", "0@missing"} {
			if string(parked[i].Event.Data) != want {
				t.Errorf("%q is parked as %q, want %q", batch[i].Data, parked[i].Event.Data, want)
			}
		}
	}
}
