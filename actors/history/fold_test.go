package history_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"

	"example.com/life/actors/actorstest"
	"example.com/life/actors/history"
	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/sagas"
)

// tallied counts the events that are read.
type tallied struct {
	*actorstest.Memory
	events atomic.Int64
}

func (c *tallied) Read(ctx context.Context, stream events.Stream, from events.Revision, direction storage.Direction, limit storage.Limit) (storage.Page, error) {
	page, err := c.Memory.Read(ctx, stream, from, direction, limit)
	c.events.Add(int64(len(page.Events)))
	return page, err
}

// configuredOften stores an agent that was configured at every revision; its model tells the revision.
func configuredOften(t *testing.T, memory *actorstest.Memory, name string, count int) {
	t.Helper()
	var digest events.Digest
	batch := make([]events.Envelope, 0, 500)
	for i := range count {
		config := events.AgentConfig{Model: fmt.Sprintf("%s/%d", name, i), Wallet: sagas.DefaultWallet, Tenant: sagas.DefaultTenant}
		var event events.Event = events.AgentConfigured{Config: config}
		if i == 0 {
			event = events.AgentCreated{Agent: "demo", Config: config}
		}
		data, version, err := events.Encode(event)
		if err != nil {
			t.Fatal(err)
		}
		digest = digest.Next(event.Kind(), data)
		batch = append(batch, events.Envelope{
			ID: uuid.New(), Kind: event.Kind(), Version: version, Time: events.Micros(i), Command: events.CommandID(fmt.Sprintf("c%d", i)), Digest: digest, Data: data,
		})
		if len(batch) == cap(batch) || i == count-1 {
			if _, err := memory.Append(t.Context(), "agent-demo", storage.ExpectAny, batch); err != nil {
				t.Fatal(err)
			}
			batch = make([]events.Envelope, 0, 500)
		}
	}
}

// reader returns a reader of a journal whose texts are all in their events.
func reader(journal storage.Journal, snapshots storage.Snapshots) *history.Reader {
	return history.New(history.Config{Journal: journal, Snapshots: snapshots, Blobs: actorstest.NewBlobs()})
}

// TestLookAtThePast looks at moments all over a long history. The first look leaves snapshots along the way, so that every later one
// reads no more events than lie between two of them; and what is seen does not depend on them.
func TestLookAtThePast(t *testing.T) {
	const count = 6000
	journal := &tallied{Memory: actorstest.NewMemory()}
	configuredOften(t, journal.Memory, "model", count)
	looking, reading := reader(journal, journal.Memory), reader(journal.Memory, nil)
	look := func(at events.Revision) int64 {
		t.Helper()
		before := journal.events.Load()
		state, err := looking.State(t.Context(), "demo", at)
		if err != nil {
			t.Fatal(err)
		}
		read := journal.events.Load() - before
		want, err := reading.State(t.Context(), "demo", at)
		if err != nil {
			t.Fatal(err)
		}
		got, err := json.Marshal(state)
		if whole, wholeErr := json.Marshal(want); err != nil || wholeErr != nil || string(got) != string(whole) {
			t.Errorf("at %d: %s\nwithout snapshots: %s", at, got, whole)
		}
		return read
	}
	if read := look(count - 1); read < count {
		t.Fatalf("%d events read: there were snapshots before the first look", read)
	}
	for _, at := range []events.Revision{count - 1, 5400, 1, 0, 2500, 5900, 4999, 5000, 4096} {
		if read := look(at); read > 1000+2*512 {
			t.Errorf("at %d: %d events read", at, read)
		}
	}
}

// TestSnapshotsOfAnotherHistory opens a cache beside a history that it is not of: its snapshots are dropped, and the state is right.
func TestSnapshotsOfAnotherHistory(t *testing.T) {
	const count = 10_000
	cache, memory := actorstest.NewMemory(), actorstest.NewMemory()
	configuredOften(t, cache, "other", count)
	if _, err := reader(cache, cache).State(t.Context(), "demo", events.NoRevision); err != nil {
		t.Fatal(err)
	}
	if _, found, err := cache.Load(t.Context(), history.AgentFold().Name, "agent-demo", 1<<62); err != nil || !found {
		t.Fatalf("no snapshot was left: %v", err)
	}
	configuredOften(t, memory, "model", count)
	state, err := reader(memory, cache).State(t.Context(), "demo", 5000)
	if err != nil || state.Agent.Config.Model != "model/5000" {
		t.Errorf("state: %s, %v", state.Agent.Config.Model, err)
	}
	snapshot, found, err := cache.Load(t.Context(), history.AgentFold().Name, "agent-demo", 1<<62)
	if err != nil || !found || snapshot.Revision > 5000 {
		t.Errorf("the newest snapshot is at %d, found %t, %v; want one of the first 5000 events", snapshot.Revision, found, err)
	}
}
