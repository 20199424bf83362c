package actors_test

import (
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"

	"example.com/life/actors"
	"example.com/life/actors/actorstest"
	"example.com/life/events"
)

// BenchmarkTurns measures what the host costs without a disk: the same turn as life bench turns, over a store in memory.
func BenchmarkTurns(b *testing.B) {
	for _, workers := range []int{1, 64} {
		b.Run(strconv.Itoa(workers), func(b *testing.B) {
			memory := actorstest.NewMemory()
			host, err := actors.New(b.Context(), actors.Config{
				Masker:  actorstest.Unmasked{},
				Journal: memory, Snapshots: memory, Blobs: actorstest.NewBlobs(), OpeningCredit: 1e6 * events.Dollar,
				Models: oneModel{actorstest.FakeModel(twoRounds)}, Tools: []actors.Tool{echo()},
			})
			if err != nil {
				b.Fatal(err)
			}
			var next atomic.Int64
			b.ReportAllocs()
			b.SetParallelism(max(1, workers/2))
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				id := events.AgentID(fmt.Sprintf("a%d", next.Add(1)))
				turns(b, host, id, pb)
			})
			b.StopTimer()
			if err := host.Close(b.Context()); err != nil {
				b.Fatal(err)
			}
		})
	}
}

func turns(b *testing.B, host *actors.Host, id events.AgentID, pb *testing.PB) {
	stream := events.AgentStream(id)
	if _, err := host.Do(b.Context(), stream, create(id, "echo"), actors.Origin{}); err != nil {
		b.Error(err)
		return
	}
	feed, err := host.Watch(b.Context(), id, events.NoRevision)
	if err != nil {
		b.Error(err)
		return
	}
	defer feed.Close()
	for i := 0; pb.Next(); i++ {
		if _, err := host.Do(b.Context(), stream, say(strconv.Itoa(i), "hello"), actors.Origin{}); err != nil {
			b.Error(err)
			return
		}
		for {
			item, err := feed.Next(b.Context())
			if err != nil {
				b.Error(err)
				return
			}
			if item.Event != nil && item.Event.Kind == "turn.ended" {
				break
			}
		}
	}
}
