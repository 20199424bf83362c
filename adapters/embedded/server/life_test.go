package server_test

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/google/uuid"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

// TestLifesOwn: what a host appends in process is read through the protocol, and what is appended through it with Life's metadata is again
// Life's own, to the last field.
func TestLifesOwn(t *testing.T) {
	w := serve(t)
	client := w.client(t)
	own := events.Envelope{
		ID: uuid.New(), Kind: "turn.began", Version: 3, Time: 1_700_000_000_123_456, Actor: "someone", Command: "c-1", Correlation: "a/1",
		Causation: "agent-a@4", Traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", Host: "books-1#17", Data: []byte(`{"a":"<b>"}`),
	}
	own.Digest = events.Digest{}.Next(own.Kind, own.Data)
	if _, err := w.store.Append(within(t), "first", storage.ExpectNoStream, []events.Envelope{own}); err != nil {
		t.Fatal(err)
	}
	read, err := readStream(t, client, "first", esdb.ReadStreamOptions{}, 10)
	if err != nil || len(read) != 1 {
		t.Fatalf("read %d events: %v", len(read), err)
	}
	e := read[0].Event
	if e.EventID != own.ID || e.EventType != string(own.Kind) || e.ContentType != "application/json" || string(e.Data) != string(own.Data) ||
		!e.CreatedDate.Equal(time.UnixMicro(int64(own.Time))) {
		t.Errorf("read %+v", e)
	}
	appendTo(t, client, "second", esdb.EventData{EventID: e.EventID, EventType: e.EventType, ContentType: esdb.ContentTypeJson, Data: e.Data, Metadata: e.UserMetadata})
	page, err := w.store.Read(within(t), "second", 0, storage.Forward, storage.Limit{})
	if err != nil || len(page.Events) != 1 {
		t.Fatalf("the store has %d events: %v", len(page.Events), err)
	}
	got := page.Events[0]
	if got.Foreign != nil || got.Digest != own.Digest || got.Time != own.Time || got.Version != own.Version || got.Actor != own.Actor || got.Command != own.Command ||
		got.Correlation != own.Correlation || got.Causation != own.Causation || got.Traceparent != own.Traceparent || got.Host != own.Host || string(got.Data) != string(own.Data) {
		t.Errorf("the store has %+v", got)
	}
}

// TestForeign: what other programs append is kept byte for byte, whatever it claims to be.
func TestForeign(t *testing.T) {
	w := serve(t)
	client := w.client(t)
	life := `{"version":1,"time":"5","digest":"` + "0000000000000000000000000000000000000000000000000000000000000000" + `"}`
	batch := []esdb.EventData{
		{ContentType: esdb.ContentTypeJson, Data: []byte(` {"spaced" : 1} `), Metadata: []byte(`{"$correlationId":"c","other":true}`)},
		{ContentType: esdb.ContentTypeJson, Data: []byte(`not JSON`), Metadata: []byte(`nor this`)},
		{ContentType: esdb.ContentTypeBinary, Data: []byte(`{"json":"but binary"}`), Metadata: []byte(life)},
		{ContentType: esdb.ContentTypeBinary, Data: []byte{0, 1, 0xfe}, Metadata: []byte(life)},
		{ContentType: esdb.ContentTypeJson, Data: nil, Metadata: nil},
		{ContentType: esdb.ContentTypeJson, Data: []byte(`{}`), Metadata: []byte(life)},
	}
	for i := range batch {
		batch[i].EventID, batch[i].EventType = uuid.New(), "foreign"
	}
	appendTo(t, client, "s", batch...)
	read, err := readStream(t, client, "s", esdb.ReadStreamOptions{}, 10)
	if err != nil || len(read) != len(batch) {
		t.Fatalf("read %d events: %v", len(read), err)
	}
	for i, want := range batch {
		got := read[i].Event
		wantType := "application/json"
		if want.ContentType == esdb.ContentTypeBinary {
			wantType = "application/octet-stream"
		}
		if !slices.Equal(got.Data, want.Data) || !slices.Equal(got.UserMetadata, want.Metadata) || got.ContentType != wantType {
			t.Errorf("event %d is %q of %s with %q", i, got.Data, got.ContentType, got.UserMetadata)
		}
	}
	page, err := w.store.Read(within(t), "s", 0, storage.Forward, storage.Limit{})
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range page.Events {
		if ours := i == 5; (e.Foreign == nil) != ours {
			t.Errorf("event %d is Life's own: %v", i, e.Foreign == nil)
		}
	}
	if page.Events[0].Correlation != "c" {
		t.Errorf("the first event's correlation is %q", page.Events[0].Correlation)
	}
}

// TestCatchUpWithTheClient subscribes as users of the official client do: by a filter, with checkpoints, from where a subscription stopped.
func TestCatchUpWithTheClient(t *testing.T) {
	w := serve(t)
	client := w.client(t)
	for range 3 {
		appendTo(t, client, "order-1", event("Placed", `{}`), event("Shipped", `{}`))
	}
	subscribe := func(from esdb.AllPosition) (types []string, checkpoint *esdb.Position) {
		t.Helper()
		feed, err := client.SubscribeToAll(within(t), esdb.SubscribeToAllOptions{
			From: from, MaxSearchWindow: 1, CheckpointInterval: 1, Filter: &esdb.SubscriptionFilter{Type: esdb.EventFilterType, Regex: "^Ship"},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer feed.Close()
		for {
			switch got := feed.Recv(); {
			case got.EventAppeared != nil:
				types = append(types, got.EventAppeared.Event.EventType)
			case got.CheckPointReached != nil:
				checkpoint = got.CheckPointReached
			case got.CaughtUp != nil:
				return types, checkpoint
			case got.SubscriptionDropped != nil:
				t.Fatal(got.SubscriptionDropped.Error)
			}
		}
	}
	types, checkpoint := subscribe(esdb.Start{})
	if !slices.Equal(types, []string{"Shipped", "Shipped", "Shipped"}) || checkpoint == nil {
		t.Fatalf("received %q until %v", types, checkpoint)
	}
	appendTo(t, client, "order-2", event("Placed", `{}`), event("Shipped", `{}`))
	if types, _ = subscribe(*checkpoint); len(types) != 1 {
		t.Errorf("received %q after the checkpoint", types)
	}
	if types, _ = subscribe(esdb.Position{Commit: math.MaxInt64, Prepare: math.MaxInt64}); len(types) != 0 {
		t.Errorf("received %q beyond the end", types)
	}
}
