package api_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"
)

// Each answer to a command and to a query says as of which position it is, and a query is answered as of the position that it demands, by the
// parameter or the header, whichever is later; or with an error.
func TestPositions(t *testing.T) {
	server := serve(t, startHost(t))
	opened := request(t, server, http.MethodPost, "/v1/wallets/team", `{"micro_dollars": "5000000"}`)
	at := opened.Header.Get("Life-Position")
	if at == "" || !strings.Contains(opened.body, `"position":"`+at+`"`) {
		t.Fatalf("the answer to a command is as of %q: %s", at, opened.body)
	}
	for _, accept := range []string{"application/json", "application/x-ndjson"} {
		asked := request(t, server, http.MethodGet, "/v1/projections/balance", "", "Life-Position", at, "Accept", accept)
		if asked.StatusCode != http.StatusOK || !strings.Contains(asked.body, `"wallet":"team"`) || !strings.Contains(asked.body, `"position":"`+asked.Header.Get("Life-Position")+`"`) {
			t.Errorf("a query as of that position: %d %q %s", asked.StatusCode, asked.Header.Get("Life-Position"), asked.body)
		}
	}
	for _, wrong := range []string{"-1", "x", "1 2", "99999999999999999999"} {
		if asked := request(t, server, http.MethodGet, "/v1/projections/balance", "", "Life-Position", wrong); asked.StatusCode != http.StatusBadRequest || !strings.Contains(asked.body, "Life-Position") {
			t.Errorf("Life-Position %s: %d %s", wrong, asked.StatusCode, asked.body)
		}
	}
	if made := request(t, server, http.MethodPost, "/v1/agents", `{"agent": "a", "config": {"model": "fake/one"}}`); made.Header.Get("Life-Position") == "" {
		t.Errorf("the answer to a command that makes an agent has no position: %s", made.body)
	}
	// A position that is not there is waited for.
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	late, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+"/v1/projections/balance?min=1", nil)
	if err != nil {
		t.Fatal(err)
	}
	late.Header.Set("Life-Position", "999999999")
	if answer, err := server.Client().Do(late); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a position that is not there: %v, %v", answer, err)
	}
}
