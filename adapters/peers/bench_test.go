package peers_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"example.com/life/actors"
	"example.com/life/actors/actorstest"
	"example.com/life/actors/storage"
	"example.com/life/adapters/peers"
	"example.com/life/events"
	"example.com/life/sagas"
)

// BenchmarkCall measures messages of 300 bytes on their way to an agent on another host, both hosts in this process, without what the agent does.
func BenchmarkCall(b *testing.B) {
	dir := certificates(b, "a", "b")
	receipt := &actors.Receipt{Revision: 17, Position: 4711}
	to := server(b, dir, peers.Handlers{Call: func(context.Context, events.HostID, actors.PeerCall) actors.PeerAnswer {
		return actors.PeerAnswer{Epoch: 3, Settled: 3, Receipt: receipt}
	}})
	c := client(b, dir)
	command, err := actors.NewPeerCommand(sagas.Send{Meta: sagas.Meta{ID: "c-1", At: 5}, Text: events.Text{Inline: strings.Repeat("y", 300)}, Verb: events.Collect})
	if err != nil {
		b.Fatal(err)
	}
	call := actors.PeerCall{Epoch: 3, Do: &actors.PeerDo{Stream: "agent-demo", Command: command, Actor: "benchmark"}}
	for _, callers := range []int{1, 64} {
		b.Run(fmt.Sprint(callers), func(b *testing.B) {
			measure(b, callers, func(int) error {
				ctx, cancel := context.WithTimeout(b.Context(), 10*time.Second)
				defer cancel()
				_, err := c.Call(ctx, to, call)
				return err
			})
		})
	}
}

// BenchmarkForwarded measures commands to agents of another host and, to compare, the same ones at their own host, both hosts in this process, over a store in memory. Repeated ones were
// accepted before, and store nothing; stored ones store an event each.
func BenchmarkForwarded(b *testing.B) {
	dir, store, blobs := certificates(b, "a", "b"), actorstest.NewMemory(), actorstest.NewBlobs()
	a, holder := join(b, dir, "a", store, blobs), join(b, dir, "b", store, blobs)
	for _, w := range []*whole{a, holder} {
		for len(w.member.View().Members) != 2 {
			<-w.member.Changed()
		}
		defer w.stop(b)
	}
	const most = 64
	var streams []events.Stream
	var sent []sagas.Send
	for i := 0; len(streams) < most; i++ {
		id := events.AgentID(fmt.Sprint("agent-", i))
		stream := events.AgentStream(id)
		if owner, _ := a.member.View().Owner(stream); owner != holder.member.Self() {
			continue
		}
		message := sagas.Send{Meta: sagas.Meta{ID: events.CommandID("say-" + id), At: storage.Now()}, Verb: events.Collect, Text: events.Text{Inline: strings.Repeat("y", 300)}}
		for _, command := range []sagas.Command{
			sagas.Create{Meta: sagas.Meta{ID: events.CommandID("create-" + id), At: storage.Now()}, Agent: id, Config: events.AgentConfig{Model: "fake/one"}}, message,
		} {
			if _, err := holder.host.Do(b.Context(), stream, command, actors.Origin{Actor: "benchmark"}); err != nil {
				b.Fatal(err)
			}
		}
		ended(b, holder.host, id, 1)
		streams, sent = append(streams, stream), append(sent, message)
	}
	ways := []struct {
		name string
		host *actors.Host
	}{{"own", holder.host}, {"forwarded", a.host}}
	for _, by := range ways {
		for _, callers := range []int{1, most} {
			b.Run(fmt.Sprintf("repeated/%s/%d", by.name, callers), func(b *testing.B) {
				measure(b, callers, func(i int) error {
					receipt, err := by.host.Do(b.Context(), streams[i], sent[i], actors.Origin{Actor: "benchmark"})
					if err == nil && !receipt.Duplicate {
						err = fmt.Errorf("%s took a message twice", streams[i])
					}
					return err
				})
			})
		}
	}
	var number atomic.Int64
	for _, by := range ways { // last, for an agent does not remember so many commands
		for _, callers := range []int{1, most} {
			b.Run(fmt.Sprintf("stored/%s/%d", by.name, callers), func(b *testing.B) {
				measure(b, callers, func(i int) error {
					n := fmt.Sprint(number.Add(1))
					_, err := by.host.Do(b.Context(), streams[i], sagas.Configure{
						Meta: sagas.Meta{ID: events.CommandID("configure-" + n), At: storage.Now()}, Config: events.AgentConfig{Model: "fake/one", Prompt: n},
					}, actors.Origin{Actor: "benchmark"})
					return err
				})
			})
		}
	}
}

// measure has callers do something b.N times in all. cpu-µs/call does not depend on what else the machine does.
func measure(b *testing.B, callers int, do func(caller int) error) {
	b.Helper()
	var left atomic.Int64
	left.Store(int64(b.N))
	took := make([][]time.Duration, callers)
	before := processor()
	var all sync.WaitGroup
	for i := range callers {
		all.Go(func() {
			for left.Add(-1) >= 0 {
				began := time.Now()
				if err := do(i); err != nil {
					b.Error(err)
					return
				}
				took[i] = append(took[i], time.Since(began))
			}
		})
	}
	all.Wait()
	sorted := slices.Sorted(slices.Values(slices.Concat(took...)))
	b.ReportMetric(float64(sorted[len(sorted)/2].Nanoseconds())/1e3, "p50-µs")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
	b.ReportMetric(float64((processor()-before).Nanoseconds())/1e3/float64(b.N), "cpu-µs/call")
}

// processor is the time that this process has had of the processors.
func processor() time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		panic(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
