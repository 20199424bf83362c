package cmd

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"
)

// playEndpoint plays a model's endpoint: it answers with what the files hold, one after the other, the last one again and again, as streams.
// A file that begins with the line "status 401" is a refusal. What it was sent is in request-1 and so on.
func playEndpoint(ts *testscript.TestScript, _ bool, args []string) {
	var mu sync.Mutex
	variable, files, asked := args[0], args[1:], 0
	answers := make([]string, len(files))
	for i, file := range files {
		answers[i] = ts.ReadFile(file)
	}
	work := ts.MkAbs(".")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		asked++
		body, err := io.ReadAll(r.Body)
		if err == nil {
			body = fmt.Appendf(nil, "%s %s\n%s\n", r.Method, r.URL, body)
			err = os.WriteFile(fmt.Sprintf("%s/request-%d", work, asked), body, 0o600)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		answer, media := answers[min(asked, len(answers))-1], "text/event-stream"
		if strings.HasPrefix(answer, "<!DOCTYPE html>") { // a page of a proxy
			media = "text/html"
		}
		w.Header().Set("Content-Type", media)
		if line, rest, _ := strings.Cut(answer, "\n"); strings.HasPrefix(line, "status ") {
			status, err := strconv.Atoi(strings.TrimPrefix(line, "status "))
			if err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			w.WriteHeader(status)
			answer = rest
		}
		_, _ = io.WriteString(w, answer) // who hung up has no use for an error
	}))
	ts.Defer(server.Close)
	ts.Setenv(variable, server.URL)
}
