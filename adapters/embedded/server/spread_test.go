package server_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/persistent"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"pgregory.net/rapid"
)

// stored is an event as a read of everything shows it.
type stored struct {
	name     string // stream@revision
	position uint64
}

// told is what a call was answered: events, and how it ended.
type told struct {
	events []stored
	code   codes.Code
	words  string
}

func ask(t testing.TB, client streams.StreamsClient, request *streams.ReadReq) (answer told) {
	t.Helper()
	got, err := answers(t, client, request)
	for _, one := range got {
		e := one.GetEvent().GetEvent()
		answer.events = append(answer.events, stored{fmt.Sprintf("%s@%d", e.GetStreamIdentifier().GetStreamName(), e.GetStreamRevision()), e.GetCommitPosition()})
	}
	answer.code, answer.words = status.Code(err), status.Convert(err).Message()
	return answer
}

// everythingFrom reads $all from a place.
func everythingFrom(commit, prepare uint64, backwards bool, count uint64) *streams.ReadReq {
	return allFrom(func(o *streams.ReadReq_Options) {
		o.CountOption = &streams.ReadReq_Options_Count{Count: count}
		if o.GetAll().AllOption = positioned(commit, prepare); backwards {
			o.ReadDirection = streams.ReadReq_Options_Backwards
		}
	})
}

// answerOf is what EventStoreDB 24.10 answers to a counted read of everything (recorded rule 1).
func answerOf(all []stored, commit, prepare uint64, backwards bool, count uint64) told {
	at := slices.IndexFunc(all, func(e stored) bool { return e.position == commit })
	end := commit == math.MaxUint64 && prepare == math.MaxUint64
	last := uint64(0)
	if len(all) > 0 {
		last = all[len(all)-1].position
	}
	var list []stored
	switch {
	case !end && (prepare > commit || commit > math.MaxInt64):
		return told{code: codes.Unknown}
	case end && backwards:
		list = slices.Clone(all)
	case end:
	case commit == 0 && !backwards:
		list = all
	case commit == 0:
	case at < 0 && !backwards && commit > last:
	case at < 0:
		return told{code: codes.Unknown}
	case backwards:
		list = slices.Clone(all[:at])
	default:
		list = all[at:]
	}
	if backwards {
		slices.Reverse(list)
	}
	return told{events: list[:min(uint64(len(list)), count)]}
}

// TestReadsFromEverywhere: random histories, read from places that were given and others, both ways, are answered as EventStoreDB would.
func TestReadsFromEverywhere(t *testing.T) {
	w := serve(t)
	client, raw := w.client(t), w.raw(t)
	rapid.Check(t, func(r *rapid.T) {
		for range rapid.IntRange(0, 3).Draw(r, "writes") {
			stream := fmt.Sprintf("s-%d", rapid.IntRange(0, 5).Draw(r, "stream"))
			switch rapid.IntRange(0, 9).Draw(r, "what") {
			case 0:
				_, _ = client.DeleteStream(within(t), stream, esdb.DeleteStreamOptions{ExpectedRevision: esdb.Any{}}) // it need not be there
			case 1:
				appendTo(t, client, "$$"+stream, event("$metadata", `{"$maxCount":2}`))
			default:
				appendTo(t, client, stream, eventsOf(rapid.IntRange(1, 4).Draw(r, "events"))...)
			}
		}
		all := ask(t, raw, everythingFrom(0, 0, false, math.MaxUint64)).events
		last := all[len(all)-1].position
		for range 5 {
			given := all[rapid.IntRange(0, len(all)-1).Draw(r, "given")].position
			commit := rapid.SampledFrom([]uint64{
				given, given, given, given + 1, given - 1, given + 64, given + 127, last + 1, last + 128, 0, 1, 1 << 40, math.MaxInt64, 1 << 63, math.MaxUint64, rapid.Uint64().Draw(r, "any"),
			}).Draw(r, "commit")
			prepare := rapid.SampledFrom([]uint64{commit, commit, commit, commit - 1, 0, commit / 2, commit + 1, math.MaxUint64}).Draw(r, "prepare")
			backwards, count := rapid.Bool().Draw(r, "backwards"), rapid.Uint64Range(1, 40).Draw(r, "count")
			got, want := ask(t, raw, everythingFrom(commit, prepare, backwards, count)), answerOf(all, commit, prepare, backwards, count)
			if got.code != want.code || !slices.Equal(got.events, want.events) {
				r.Fatalf("from C:%d/P:%d, backwards %t, %d events: %+v, want %+v", commit, prepare, backwards, count, got, want)
			}
		}
	})
}

// TestRefusedPlaces names the refusal as EventStoreDB does: clients have nothing else to tell it by.
func TestRefusedPlaces(t *testing.T) {
	w := serve(t)
	raw := w.raw(t)
	at := appendTo(t, w.client(t), "s", eventsOf(3)...).CommitPosition
	for _, backwards := range []bool{false, true} {
		request := everythingFrom(at-1, at-1, backwards, 10)
		if got := ask(t, raw, request); got.code != codes.Unknown || !strings.Contains(got.words, "Unexpected ReadAllResult: InvalidPosition") {
			t.Errorf("backwards %t: %+v", backwards, got)
		}
		request.GetOptions().FilterOption = prefixes("s")
		if got := ask(t, raw, request); got.code != codes.Unknown || !strings.Contains(got.words, "Unexpected FilteredReadAllResult: InvalidPosition") {
			t.Errorf("backwards %t, filtered: %+v", backwards, got)
		}
	}
}

// TestSubscribeFromEverywhere: a subscription from between two events is confirmed and then refused; one from (c, less than c) includes
// the event at c; and of one from beyond the end nothing up to its place is ever sent (recorded rule 1).
func TestSubscribeFromEverywhere(t *testing.T) {
	w := serve(t)
	client, raw := w.client(t), w.raw(t)
	var at []uint64
	for range 4 {
		at = append(at, appendTo(t, client, "s", eventsOf(1)...).CommitPosition)
	}
	gap := at[1] - at[0]
	if gap < 2 {
		t.Fatalf("the positions %v are next to each other", at)
	}
	from := func(commit, prepare uint64) *listener {
		return listen(t, raw, allFrom(live(func(o *streams.ReadReq_Options) { o.GetAll().AllOption = positioned(commit, prepare) })))
	}
	for _, between := range []uint64{at[1] + 1, at[1] - 1, at[2] - gap/2, 1} {
		l := from(between, between)
		l.expect(t, "error InvalidArgument")
		if err := l.call.RecvMsg(nil); status.Convert(err).Message() != "Trying to read from an invalid position." {
			t.Errorf("from %d: %v", between, err)
		}
	}
	feeds := []struct {
		feed *listener
		want []string // at once, and after that what is appended next
	}{
		{from(at[1], at[1]), []string{"s@2", "s@3", "caught up", "s@4", "s@5", "s@6", "s@7"}},
		{from(at[1], at[1]-1), []string{"s@1", "s@2", "s@3", "caught up", "s@4", "s@5", "s@6", "s@7"}},
		{from(at[1], 0), []string{"s@1", "s@2", "s@3", "caught up", "s@4", "s@5", "s@6", "s@7"}},
		{from(at[3], 0), []string{"s@3", "caught up", "s@4", "s@5", "s@6", "s@7"}},
		{from(at[3], at[3]), []string{"caught up", "s@4", "s@5", "s@6", "s@7"}},
		{from(at[3]+1, at[3]+1), []string{"caught up", "s@4", "s@5", "s@6", "s@7"}},
		{from(at[3]+2*gap, at[3]+2*gap), []string{"caught up", "s@6", "s@7"}},
		{from(at[3]+2*gap+1, 0), []string{"caught up", "s@6", "s@7"}},
		{from(math.MaxUint64, math.MaxUint64), []string{"caught up", "s@4", "s@5", "s@6", "s@7"}},
	}
	never := from(math.MaxInt64, math.MaxInt64)
	never.expect(t, "caught up")
	for i, f := range feeds {
		end := slices.Index(f.want, "caught up")
		f.feed.expect(t, f.want[:end+1]...)
		feeds[i].want = f.want[end+1:]
	}
	appendTo(t, client, "s", eventsOf(4)...)
	for _, f := range feeds {
		f.feed.expect(t, f.want...)
	}
	// All of it was looked at by the one that is sent nothing, too: what comes next to it is the end of its call.
	w.server.Close(t.Context())
	never.expect(t, "error Unavailable")
}

// TestGroupsFromEverywhere: a group may begin between two events, and not beyond the last.
func TestGroupsFromEverywhere(t *testing.T) {
	w := serve(t)
	client := w.client(t)
	at := appendTo(t, client, "s", eventsOf(3)...).CommitPosition
	groups := persistent.NewPersistentSubscriptionsClient(w.dial(t))
	create := func(name string, commit uint64) error {
		_, err := groups.Create(within(t), &persistent.CreateReq{Options: &persistent.CreateReq_Options{
			GroupName: name,
			StreamOption: &persistent.CreateReq_Options_All{All: &persistent.CreateReq_AllOptions{
				AllOption:    &persistent.CreateReq_AllOptions_Position{Position: &persistent.CreateReq_Position{CommitPosition: commit, PreparePosition: commit}},
				FilterOption: &persistent.CreateReq_AllOptions_NoFilter{NoFilter: &shared.Empty{}},
			}},
			Settings: &persistent.CreateReq_Settings{
				ReadBatchSize: 20, HistoryBufferSize: 500, LiveBufferSize: 500, MaxRetryCount: 10, MinCheckpointCount: 10, MaxCheckpointCount: 1000,
				MessageTimeout: &persistent.CreateReq_Settings_MessageTimeoutMs{MessageTimeoutMs: 10_000}, CheckpointAfter: &persistent.CreateReq_Settings_CheckpointAfterMs{CheckpointAfterMs: 1000},
				ConsumerStrategy: "RoundRobin",
			},
		}})
		return err
	}
	if err := create("between", at-1); err != nil {
		t.Fatal(err)
	}
	if err := create("beyond", at+1<<20); status.Code(err) != codes.Internal {
		t.Errorf("beyond the end: %v", err)
	}
	feed, err := client.SubscribeToPersistentSubscriptionToAll(within(t), "between", esdb.SubscribeToPersistentSubscriptionOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer feed.Close()
	if first := feed.Recv().EventAppeared; first == nil || first.Event.OriginalEvent().Position.Commit != at {
		t.Errorf("the group begins with %+v, want what stands at %d", first, at)
	}
}

// TestPositionsOfAnswers: what an append, a batch and a deletion are answered is where the event stands.
func TestPositionsOfAnswers(t *testing.T) {
	w := serve(t)
	client, raw := w.client(t), w.raw(t)
	last := func() uint64 {
		all := ask(t, raw, everythingFrom(math.MaxUint64, math.MaxUint64, true, 1)).events
		return all[0].position
	}
	if got := appendTo(t, client, "s", eventsOf(2)...); got.CommitPosition != last() || got.PreparePosition != last() {
		t.Errorf("the append was answered %+v, the last event is at %d", got, last())
	}
	batch := batched(t, batchCall(t, w), &streams.BatchAppendReq{CorrelationId: idOf(numbered(1)), Options: batchTo("s"), ProposedMessages: batchEvents(1, 3), IsFinal: true})
	if got := batch.GetSuccess().GetPosition().GetCommitPosition(); got != last() {
		t.Errorf("the batch was answered %v, the last event is at %d", batch, last())
	}
	deleted, err := client.DeleteStream(within(t), "s", esdb.DeleteStreamOptions{ExpectedRevision: esdb.Any{}})
	if err != nil || deleted.Position.Commit != last() {
		t.Errorf("the deletion was answered %+v, the last event is at %d: %v", deleted, last(), err)
	}
	ended, err := client.TombstoneStream(within(t), "s", esdb.TombstoneStreamOptions{ExpectedRevision: esdb.Any{}})
	if err != nil || ended.Position.Commit != last() {
		t.Errorf("the tombstone was answered %+v, the last event is at %d: %v", ended, last(), err)
	}
}
