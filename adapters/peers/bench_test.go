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
	"example.com/life/adapters/peers"
	"example.com/life/events"
	"example.com/life/sagas"
)

// BenchmarkCall measures messages of 300 bytes on their way to an agent on another host, both hosts in this process, without what the agent does. cpu-µs/call does not depend on what
// else the machine does.
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
			var left atomic.Int64
			left.Store(int64(b.N))
			took := make([][]time.Duration, callers)
			before := processor()
			var all sync.WaitGroup
			for i := range callers {
				all.Go(func() {
					for left.Add(-1) >= 0 {
						began := time.Now()
						ctx, cancel := context.WithTimeout(b.Context(), 10*time.Second)
						_, err := c.Call(ctx, to, call)
						cancel()
						if err != nil {
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
		})
	}
}

// processor is the time that this process has had of the processors.
func processor() time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		panic(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
