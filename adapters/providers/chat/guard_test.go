package chat

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.com/life/actors"
	"example.com/life/actors/actorstest"
	"example.com/life/adapters/providers/endpoint"
	"example.com/life/adapters/providers/endpoint/endpointtest"
	"example.com/life/events"
)

func TestOpenAIWatchesForSilence(t *testing.T) {
	const idle = time.Minute
	ask := func(t *testing.T, wait time.Duration, pieces ...string) (actors.ModelResponse, time.Duration, error) {
		t.Helper()
		model := newOpenAI(t, endpoint.Config{
			BaseURL: "http://model.test/v1", Idle: idle,
			Client: &http.Client{Transport: &endpointtest.Steps{Pieces: pieces, Wait: wait}},
		})
		started := time.Now()
		answer, err := model.Ask(t.Context(), actorstest.ModelQuestion("m"), nil)
		return answer, time.Since(started), err
	}
	t.Run("slow is not silent", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			answer, took, err := ask(t, idle-time.Second, ": thinking\n\n", ": thinking\n\n", textEvent("hi"), finishEvent("stop"), done)
			if err != nil || answer.Text != "hi" || took < 4*idle {
				t.Errorf("got %+v, %v after %s", answer, err, took)
			}
		})
	})
	t.Run("silent within the reply", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			_, took, err := ask(t, time.Second, textEvent("hi"))
			var failure *actors.ModelError
			if !errors.As(err, &failure) || failure.Class != events.ErrorTimeout || took > idle+2*time.Second {
				t.Errorf("got %v after %s, want a timeout after %s of silence", err, took, idle)
			}
		})
	})
	t.Run("silent after the reply", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			answer, _, err := ask(t, time.Second, textEvent("hi"), finishEvent("stop"))
			if err != nil || answer.Text != "hi" {
				t.Errorf("got %+v, %v: a finished reply is complete", answer, err)
			}
		})
	})
}

// TestOpenAINeverShowsTheKey lets the endpoint echo everything it was sent in every place an error could come from.
func TestOpenAINeverShowsTheKey(t *testing.T) {
	echo := func(status int, frame func(string) string) func(*http.Request, map[string]any) wire {
		return func(r *http.Request, _ map[string]any) wire {
			said := strings.Repeat("x", 500-20) + fmt.Sprint(r.Header) // cut in the middle of the key if it were cut first
			return wire{Status: status, Header: map[string]string{"Content-Type": "text/event-stream"}, Pieces: []string{frame(said)}}
		}
	}
	same := func(s string) string { return s }
	asError := func(s string) string { return `{"error":{"message":` + quote(s) + `}}` }
	asRaw := func(s string) string { return `{"error":{"message":` + quote(s) + ` oops` } // shown as sent, escapes and all
	asEvent := func(s string) string { return event(asError(s)) }
	for name, answer := range map[string]func(*http.Request, map[string]any) wire{
		"401": echo(401, asError), "400 raw": echo(400, asRaw), "500": echo(500, same), "within": echo(200, asEvent),
		"bad event": echo(200, func(s string) string { return event(`{` + s) }),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := newOpenAI(t, fakeOpenAI(t, answer)).Ask(t.Context(), actorstest.ModelQuestion("m"), nil)
			if err == nil {
				t.Fatal("no error")
			}
			shown := fmt.Sprintf("%v %+v %#v", err, err, err)
			for _, part := range []string{endpointtest.Key, endpointtest.Key[:12], endpoint.InsideJSON(endpointtest.Key), "0123456789"} {
				if strings.Contains(shown, part) {
					t.Errorf("the error shows %q of the key: %s", part, shown)
				}
			}
		})
	}
}
