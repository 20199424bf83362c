package history_test

import (
	"testing"

	"github.com/google/uuid"

	"example.com/life/actors/actorstest"
	"example.com/life/actors/history"
	"example.com/life/actors/storage"
	"example.com/life/events"
)

// TestVerifyOthersEvents: what other programs write to streams of their own is no part of any chain; in a stream of Life's it is a
// divergence.
func TestVerifyOthersEvents(t *testing.T) {
	journal := actorstest.NewMemory()
	host := verifying(journal, actorstest.NewBlobs())
	write := func(stream events.Stream) {
		e := events.Envelope{ID: uuid.New(), Kind: "order.placed", Data: []byte(`{}`)}
		e.SetMetadata([]byte(`{"by":"another program"}`))
		if _, err := journal.Append(t.Context(), stream, storage.ExpectAny, []events.Envelope{e}); err != nil {
			t.Fatal(err)
		}
	}
	write("orders")
	write("command-local")
	write("orders")
	report, err := host.Verify(t.Context(), "", nil)
	if err != nil || report.Events != 3 || len(report.Failures) != 0 {
		t.Errorf("verified %+v, %v", report, err)
	}
	write("effect-agent-demo@3")
	write("wallet-main")
	report, err = host.Verify(t.Context(), "", nil)
	if err != nil || len(report.Failures) != 2 || report.Failures[0].What != history.ProblemForeign {
		t.Errorf("verified %+v, %v", report, err)
	}
}
