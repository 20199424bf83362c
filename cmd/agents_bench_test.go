package cmd

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"example.com/life/actors/storage"
	"example.com/life/adapters/embedded"
	"example.com/life/cmd/stores"
	"example.com/life/events"
)

// BenchmarkAgentsOverHTTP asks life serve, a process of its own, about some of 100,000 agents, twenty of which wait for approval. What
// counts is the median: the others include what else the machine does.
func BenchmarkAgentsOverHTTP(b *testing.B) {
	for _, agents := range []int{100, 100_000} {
		b.Run(fmt.Sprint(agents), func(b *testing.B) {
			address := serveAgents(b, agents)
			for name, path := range map[string]string{
				"health": "/v1/health",
				"one":    "/v1/agents/agent-000042", "waiting": "/v1/agents?status=waiting", "page": "/v1/agents?after=agent-000042&limit=20",
				"unknown": "/v1/agents/nobody",
			} {
				b.Run(name, func(b *testing.B) {
					var took []time.Duration
					for b.Loop() {
						begun := time.Now()
						answer, err := http.Get(address + path)
						if err != nil {
							b.Fatal(err)
						}
						body, err := io.ReadAll(answer.Body)
						if err != nil || (answer.StatusCode != http.StatusOK) != (name == "unknown") {
							b.Fatalf("%s %s %v", answer.Status, body, err)
						}
						answer.Body.Close()
						if found := strings.Count(string(body), `"id":`); name == "waiting" && found != 20 {
							b.Fatalf("%d agents: %s", found, body)
						}
						took = append(took, time.Since(begun))
					}
					slices.Sort(took)
					b.ReportMetric(float64(took[len(took)/2].Microseconds()), "µs/median")
				})
			}
		})
	}
}

// serveAgents serves a store of agents that were created and have done nothing else, and gives its address.
func serveAgents(b *testing.B, agents int) string {
	data := b.TempDir()
	store, err := embedded.Open(embedded.Config{Dir: filepath.Join(data, stores.StoreName)})
	if err != nil {
		b.Fatal(err)
	}
	var writers sync.WaitGroup
	for writer := range 64 {
		writers.Go(func() {
			for i := writer; i < agents; i += 64 {
				if err := storeAgent(b, store, i); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	writers.Wait()
	if err := store.Close(); err != nil || b.Failed() {
		b.Fatal(err)
	}
	life, err := exec.LookPath("life")
	if err != nil {
		b.Fatal(err)
	}
	var errs bytes.Buffer
	cmd := exec.Command(life, "serve", "--data", data, "--listen", "127.0.0.1:0")
	cmd.Env, cmd.Stderr = append(os.Environ(), "LIFE_STORE="), &errs
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); <-time.After(10 * time.Millisecond) {
		if where, err := readServing(data); err == nil && where.PID == cmd.Process.Pid {
			return where.Address
		}
	}
	b.Fatalf("life serve does not start: %s", &errs)
	return ""
}

func storeAgent(b *testing.B, store *embedded.Store, i int) error {
	id := events.AgentID(fmt.Sprintf("agent-%06d", i))
	happened := []events.Event{events.AgentCreated{Agent: id, Config: events.AgentConfig{Model: "scripted/tour"}}}
	if i < 20 {
		happened = append(happened, events.ApprovalRequested{Turn: events.NewTurnID(id, 1), Call: "1.1", Tool: "bash"},
			events.AgentQuarantined{Reason: "so that the host leaves it alone"}, events.AgentReleased{})
	}
	batch := make([]events.Envelope, len(happened))
	digest := events.Digest{}
	for n, event := range happened {
		data, version, err := events.Encode(event)
		if err != nil {
			return err
		}
		digest = digest.Next(event.Kind(), data)
		batch[n] = events.Envelope{ID: uuid.New(), Kind: event.Kind(), Version: version, Time: storage.Now(), Data: data, Digest: digest}
	}
	_, err := store.Append(b.Context(), events.AgentStream(id), storage.ExpectRevision(events.NoRevision), batch)
	return err
}
