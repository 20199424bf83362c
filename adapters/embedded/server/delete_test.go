package server_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

func deleteStream(t testing.TB, client *esdb.Client, stream string) *esdb.DeleteResult {
	t.Helper()
	result, err := client.DeleteStream(within(t), stream, esdb.DeleteStreamOptions{ExpectedRevision: esdb.Any{}})
	if err != nil {
		t.Fatalf("delete %s: %v", stream, err)
	}
	return result
}

// TestDelete deletes a stream and goes on with it.
func TestDelete(t *testing.T) {
	client := serve(t).client(t)
	appendTo(t, client, "s", eventsOf(3)...)
	if result := deleteStream(t, client, "s"); result.Position.Commit == 0 {
		t.Errorf("deleting was answered %+v", result)
	}
	if _, err := readStream(t, client, "s", esdb.ReadStreamOptions{}, 10); !is(err, esdb.ErrorCodeResourceNotFound) {
		t.Errorf("reading a deleted stream: %v", err)
	}
	result, err := client.AppendToStream(within(t), "s", esdb.AppendToStreamOptions{ExpectedRevision: esdb.NoStream{}}, event("again", `{}`))
	if err != nil || result.NextExpectedVersion != 3 {
		t.Fatalf("appending to a deleted stream: %+v: %v", result, err)
	}
	if _, err := client.AppendToStream(within(t), "s", esdb.AppendToStreamOptions{ExpectedRevision: esdb.NoStream{}}, event("again", `{}`)); !is(err, esdb.ErrorCodeWrongExpectedVersion) {
		t.Errorf("the second one to recreate it: %v", err)
	}
	read, err := readStream(t, client, "s", esdb.ReadStreamOptions{}, 10)
	if revisions(read) != "3" || err != nil {
		t.Errorf("the recreated stream reads %s: %v", revisions(read), err)
	}
	all, err := readAll(t, client, esdb.ReadAllOptions{}, 100)
	own := 0
	for _, e := range all {
		if e.Event.StreamID == "s" {
			own++
		}
	}
	if own != 4 || err != nil {
		t.Errorf("$all has %d of its 4 events: %v", own, err)
	}
}

// TestSoftDeletedVersions: a stream that was deleted after revision 2 is at revision 2 for everyone who expects something of it, and is
// not there for who expects that it exists. Each way to write says so in its own words.
func TestSoftDeletedVersions(t *testing.T) {
	w := serve(t)
	client, raw := w.client(t), w.raw(t)
	deleted := func(t *testing.T) string {
		stream := "deleted-" + uuid.NewString()
		appendTo(t, client, stream, eventsOf(3)...)
		deleteStream(t, client, stream)
		return stream
	}
	const gone, refused = "deleted", "at 2"
	for _, row := range []struct {
		said     string
		expected any // a uint64, or "any", "none", "exists"
		append   string
		remove   string // Delete and Tombstone
	}{
		{"any", "any", "4", "done"},
		{"no stream", "none", "4", "done"},
		{"exists", "exists", gone, gone},
		{"revision 2", uint64(2), "4", "done"},
		{"revision 0", uint64(0), refused, refused},
		{"revision 7", uint64(7), refused, refused},
		{"the greatest revision", uint64(math.MaxInt64), refused, refused},
	} {
		t.Run(row.said, func(t *testing.T) {
			if got := appendedTo(t, raw, deleted(t), row.expected); got != row.append {
				t.Errorf("appending: %s, want %s", got, row.append)
			}
			if got := batchedTo(t, w, deleted(t), row.expected); got != row.append {
				t.Errorf("appending in a batch: %s, want %s", got, row.append)
			}
			if got := removed(t, raw, "Delete", deleted(t), row.expected); got != row.remove {
				t.Errorf("deleting: %s, want %s", got, row.remove)
			}
			if got := removed(t, raw, "Tombstone", deleted(t), row.expected); got != row.remove {
				t.Errorf("ending: %s, want %s", got, row.remove)
			}
		})
	}
}

// outcome is how a refusal of one who expects something of a stream reads in tests.
func outcome(err error, trailer metadata.MD) string {
	switch exception := trailer.Get("exception"); {
	case err == nil:
		return "done"
	case status.Code(err) == codes.FailedPrecondition && slices.Equal(exception, []string{"stream-deleted"}) && len(trailer.Get("stream-name")) == 1:
		return "deleted"
	case status.Code(err) == codes.FailedPrecondition && slices.Equal(exception, []string{"wrong-expected-version"}):
		return "at " + strings.Join(trailer.Get("actual-version"), " ")
	}
	return err.Error()
}

func appendedTo(t *testing.T, client streams.StreamsClient, stream string, expected any) string {
	t.Helper()
	options := &streams.AppendReq_Options{StreamIdentifier: named(stream)}
	switch expected := expected.(type) {
	case uint64:
		options.ExpectedStreamRevision = &streams.AppendReq_Options_Revision{Revision: expected}
	case string:
		options.ExpectedStreamRevision = map[string]*streams.AppendReq_Options{
			"any":    {ExpectedStreamRevision: &streams.AppendReq_Options_Any{}},
			"none":   {ExpectedStreamRevision: &streams.AppendReq_Options_NoStream{}},
			"exists": {ExpectedStreamRevision: &streams.AppendReq_Options_StreamExists{}},
		}[expected].GetExpectedStreamRevision()
	}
	first := &streams.AppendReq{Content: &streams.AppendReq_Options_{Options: options}}
	answer, trailer, err := propose(t, client, first, proposedEvent(as), proposedEvent(as))
	if wrong := answer.GetWrongExpectedVersion(); wrong != nil {
		if wrong.GetCurrentRevision() != wrong.GetCurrentRevision_20_6_0() {
			t.Errorf("the old field says otherwise: %v", wrong)
		}
		return fmt.Sprint("at ", wrong.GetCurrentRevision())
	}
	if err == nil {
		return fmt.Sprint(answer.GetSuccess().GetCurrentRevision())
	}
	return outcome(err, trailer)
}

func batchedTo(t *testing.T, w world, stream string, expected any) string {
	t.Helper()
	options := &streams.BatchAppendReq_Options{StreamIdentifier: named(stream)}
	switch expected := expected.(type) {
	case uint64:
		options.ExpectedStreamPosition = &streams.BatchAppendReq_Options_StreamPosition{StreamPosition: expected}
	case string:
		options.ExpectedStreamPosition = map[string]*streams.BatchAppendReq_Options{
			"any":    {ExpectedStreamPosition: &streams.BatchAppendReq_Options_Any{}},
			"none":   {ExpectedStreamPosition: &streams.BatchAppendReq_Options_NoStream{}},
			"exists": {ExpectedStreamPosition: &streams.BatchAppendReq_Options_StreamExists{}},
		}[expected].GetExpectedStreamPosition()
	}
	answer := batched(t, batchCall(t, w), &streams.BatchAppendReq{
		CorrelationId: idOf(uuid.New()), Options: options, ProposedMessages: batchEvents(2, 1), IsFinal: true,
	})
	if answer.GetError() == nil {
		return fmt.Sprint(answer.GetSuccess().GetCurrentRevision())
	}
	details, err := answer.GetError().GetDetails()[0].UnmarshalNew()
	if err != nil {
		t.Fatal(err)
	}
	switch details := details.(type) {
	case *shared.StreamDeleted:
		if code := codes.Code(answer.GetError().GetCode()); code != codes.NotFound || string(details.GetStreamIdentifier().GetStreamName()) != stream { //nolint:gosec // a code
			t.Errorf("answered %v", answer)
		}
		return "deleted"
	case *shared.WrongExpectedVersion:
		return fmt.Sprint("at ", details.GetCurrentStreamRevision())
	}
	return answer.String()
}

func removed(t *testing.T, client streams.StreamsClient, how, stream string, expected any) string {
	t.Helper()
	var trailer metadata.MD
	var err error
	if how == "Delete" {
		options := &streams.DeleteReq_Options{StreamIdentifier: named(stream)}
		switch expected {
		case "any":
			options.ExpectedStreamRevision = &streams.DeleteReq_Options_Any{}
		case "none":
			options.ExpectedStreamRevision = &streams.DeleteReq_Options_NoStream{}
		case "exists":
			options.ExpectedStreamRevision = &streams.DeleteReq_Options_StreamExists{}
		default:
			options.ExpectedStreamRevision = &streams.DeleteReq_Options_Revision{Revision: expected.(uint64)}
		}
		_, err = client.Delete(within(t), &streams.DeleteReq{Options: options}, grpc.Trailer(&trailer))
		return outcome(err, trailer)
	}
	options := &streams.TombstoneReq_Options{StreamIdentifier: named(stream)}
	switch expected {
	case "any":
		options.ExpectedStreamRevision = &streams.TombstoneReq_Options_Any{}
	case "none":
		options.ExpectedStreamRevision = &streams.TombstoneReq_Options_NoStream{}
	case "exists":
		options.ExpectedStreamRevision = &streams.TombstoneReq_Options_StreamExists{}
	default:
		options.ExpectedStreamRevision = &streams.TombstoneReq_Options_Revision{Revision: expected.(uint64)}
	}
	_, err = client.Tombstone(within(t), &streams.TombstoneReq{Options: options}, grpc.Trailer(&trailer))
	return outcome(err, trailer)
}

// TestMetadataBehindTombstone: they are written, and nobody can read them.
func TestMetadataBehindTombstone(t *testing.T) {
	w := serve(t)
	client := w.client(t)
	for _, described := range []bool{true, false} {
		stream, next := fmt.Sprint("ended-", described), uint64(0)
		appendTo(t, client, stream, eventsOf(1)...)
		if described {
			appendTo(t, client, "$$"+stream, event("$metadata", `{"$maxCount":1}`))
			next = 1
		}
		if _, err := client.TombstoneStream(within(t), stream, esdb.TombstoneStreamOptions{ExpectedRevision: esdb.Any{}}); err != nil {
			t.Fatal(err)
		}
		if result := appendTo(t, client, "$$"+stream, event("$metadata", `{"$tb":9223372036854775807}`)); result.NextExpectedVersion != next {
			t.Errorf("written at revision %d, want %d", result.NextExpectedVersion, next)
		}
		if got := batchedTo(t, w, "$$"+stream, "any"); got != fmt.Sprint(next+2) {
			t.Errorf("written in a batch: %s, want %d", got, next+2)
		}
		for _, read := range []string{stream, "$$" + stream} {
			if _, err := readStream(t, client, read, esdb.ReadStreamOptions{}, 1); !is(err, esdb.ErrorCodeStreamDeleted) {
				t.Errorf("read %s: %v", read, err)
			}
		}
		if _, err := client.AppendToStream(within(t), stream, esdb.AppendToStreamOptions{}, event("late", `{}`)); !is(err, esdb.ErrorCodeStreamDeleted) {
			t.Errorf("append to %s: %v", stream, err)
		}
	}
}

// TestLongestName: every stream that can be has metadata, also over the wire.
func TestLongestName(t *testing.T) {
	client := serve(t).client(t)
	longest := strings.Repeat("n", 1024)
	appendTo(t, client, longest, eventsOf(3)...)
	meta := esdb.StreamMetadata{}
	meta.SetMaxCount(1)
	if _, err := client.SetStreamMetadata(within(t), longest, esdb.AppendToStreamOptions{}, meta); err != nil {
		t.Fatal(err)
	}
	read, err := readStream(t, client, longest, esdb.ReadStreamOptions{}, 10)
	if got, metaErr := client.GetStreamMetadata(within(t), longest, esdb.ReadStreamOptions{}); metaErr != nil || *got.MaxCount() != 1 || err != nil || revisions(read) != "2" {
		t.Errorf("read %s, %v; the metadata are %+v, %v", revisions(read), err, got, metaErr)
	}
	deleteStream(t, client, longest)
	if got, err := readStream(t, client, "$$"+longest, esdb.ReadStreamOptions{}, 1); err != nil || string(got[0].Event.Data) != `{"$tb":9223372036854775807}` {
		t.Errorf("the metadata of the deleted stream: %v", err)
	}
}

// TestTombstone ends a stream, there or not, for good.
func TestTombstone(t *testing.T) {
	client := serve(t).client(t)
	appendTo(t, client, "there", eventsOf(2)...)
	for _, stream := range []string{"there", "never"} {
		if _, err := client.TombstoneStream(within(t), stream, esdb.TombstoneStreamOptions{ExpectedRevision: esdb.Any{}}); err != nil {
			t.Fatal(err)
		}
		if _, err := readStream(t, client, stream, esdb.ReadStreamOptions{}, 10); !is(err, esdb.ErrorCodeStreamDeleted) {
			t.Errorf("read %s: %v", stream, err)
		}
		if _, err := readStream(t, client, "$$"+stream, esdb.ReadStreamOptions{}, 10); !is(err, esdb.ErrorCodeStreamDeleted) {
			t.Errorf("read the metadata of %s: %v", stream, err)
		}
		if _, err := client.AppendToStream(within(t), stream, esdb.AppendToStreamOptions{}, event("late", `{}`)); !is(err, esdb.ErrorCodeStreamDeleted) {
			t.Errorf("append to %s: %v", stream, err)
		}
	}
	last, err := readAll(t, client, esdb.ReadAllOptions{From: esdb.End{}, Direction: esdb.Backwards}, 1)
	if err != nil || len(last) != 1 {
		t.Fatal(err)
	}
	if e := last[0].Event; e.EventType != "$streamDeleted" || e.EventNumber != math.MaxInt64 || len(e.Data) != 0 || e.ContentType != "application/octet-stream" {
		t.Errorf("the tombstone is %+v", e)
	}
}

// TestDeleteRefused compares codes and trailers.
func TestDeleteRefused(t *testing.T) {
	w := serve(t)
	client := w.client(t)
	appendTo(t, client, "there", eventsOf(2)...)
	appendTo(t, client, "ended", eventsOf(1)...)
	if _, err := client.TombstoneStream(within(t), "ended", esdb.TombstoneStreamOptions{ExpectedRevision: esdb.Any{}}); err != nil {
		t.Fatal(err)
	}
	exactly := &streams.DeleteReq_Options_Revision{Revision: 7}
	anything := &streams.DeleteReq_Options_Any{Any: &shared.Empty{}}
	for name, test := range map[string]struct {
		options  *streams.DeleteReq_Options
		code     codes.Code
		trailers map[string]string
	}{
		"wrong revision": {
			&streams.DeleteReq_Options{StreamIdentifier: named("there"), ExpectedStreamRevision: exactly}, codes.FailedPrecondition,
			map[string]string{"exception": "wrong-expected-version", "stream-name": "there", "expected-version": "7", "actual-version": "1"},
		},
		"not there": {
			&streams.DeleteReq_Options{StreamIdentifier: named("none"), ExpectedStreamRevision: anything}, codes.FailedPrecondition,
			map[string]string{"exception": "wrong-expected-version", "actual-version": "-1"},
		},
		"ended": {
			&streams.DeleteReq_Options{StreamIdentifier: named("ended"), ExpectedStreamRevision: anything}, codes.FailedPrecondition,
			map[string]string{"exception": "stream-deleted", "stream-name": "ended"},
		},
		"metadata": {
			&streams.DeleteReq_Options{StreamIdentifier: named("$$there"), ExpectedStreamRevision: anything}, codes.PermissionDenied,
			map[string]string{"exception": "access-denied"},
		},
		"everything":     {&streams.DeleteReq_Options{StreamIdentifier: named("$all"), ExpectedStreamRevision: anything}, codes.PermissionDenied, nil},
		"no expectation": {&streams.DeleteReq_Options{StreamIdentifier: named("there")}, codes.InvalidArgument, nil},
		"no stream":      {&streams.DeleteReq_Options{ExpectedStreamRevision: anything}, codes.InvalidArgument, nil},
		"nothing":        {nil, codes.InvalidArgument, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var trailer metadata.MD
			_, err := w.raw(t).Delete(within(t), &streams.DeleteReq{Options: test.options}, grpc.Trailer(&trailer))
			if status.Code(err) != test.code {
				t.Errorf("answered %v, want %s", err, test.code)
			}
			wantTrailers(t, trailer, test.trailers)
		})
	}
	var trailer metadata.MD
	_, err := w.raw(t).Tombstone(within(t), &streams.TombstoneReq{Options: &streams.TombstoneReq_Options{
		StreamIdentifier: named("there"), ExpectedStreamRevision: &streams.TombstoneReq_Options_Revision{Revision: 9},
	}}, grpc.Trailer(&trailer))
	if status.Code(err) != codes.FailedPrecondition {
		t.Errorf("ending with a wrong revision: %v", err)
	}
	wantTrailers(t, trailer, map[string]string{"exception": "wrong-expected-version", "expected-version": "9", "actual-version": "1"})
}

// TestMetadata sets what is kept of a stream; it holds at once, and $all shows what it hides.
func TestMetadata(t *testing.T) {
	client := serve(t).client(t)
	appendTo(t, client, "s", eventsOf(10)...)
	set := func(change func(*esdb.StreamMetadata)) {
		t.Helper()
		meta := esdb.StreamMetadata{}
		change(&meta)
		if _, err := client.SetStreamMetadata(within(t), "s", esdb.AppendToStreamOptions{}, meta); err != nil {
			t.Fatal(err)
		}
	}
	reads := func(want string) {
		t.Helper()
		read, err := readStream(t, client, "s", esdb.ReadStreamOptions{}, 100)
		if revisions(read) != want || err != nil {
			t.Errorf("read %q, want %q: %v", revisions(read), want, err)
		}
	}
	set(func(m *esdb.StreamMetadata) { m.SetMaxCount(3) })
	reads("7 8 9")
	set(func(m *esdb.StreamMetadata) { m.SetTruncateBefore(5) })
	reads("5 6 7 8 9")
	set(func(m *esdb.StreamMetadata) { m.SetTruncateBefore(20) })
	reads("")
	set(func(m *esdb.StreamMetadata) { m.SetMaxAge(time.Hour); m.SetCacheControl(time.Minute) })
	reads("0 1 2 3 4 5 6 7 8 9")
	meta, err := client.GetStreamMetadata(within(t), "s", esdb.ReadStreamOptions{})
	if err != nil || *meta.MaxAge() != time.Hour || meta.MaxCount() != nil || *meta.CacheControl() != time.Minute {
		t.Errorf("the metadata are %+v: %v", meta, err)
	}
	history, err := readStream(t, client, "$$s", esdb.ReadStreamOptions{}, 100)
	if revisions(history) != "3" || err != nil {
		t.Errorf("the metadata's stream reads %s: %v", revisions(history), err)
	}
}
