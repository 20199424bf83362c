package endpoint

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"example.com/life/actors"
	"example.com/life/events"
)

func lister(t *testing.T, answer http.HandlerFunc) *Endpoint {
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	at, err := New(Config{Name: "box", BaseURL: server.URL, Key: "sk-secret-of-box", Client: server.Client()})
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// TestList: lists as servers send them, with what they say of windows and abilities.
func TestList(t *testing.T) {
	yes, no := true, false
	for name, test := range map[string]struct {
		body string
		want []Listed
	}{
		"ids alone":       {`{"object":"list","data":[{"id":"a","object":"model"},{"id":"b"}]}`, []Listed{{ID: "a"}, {ID: "b"}}},
		"none":            {`{"data":[]}`, nil},
		"groq":            {`{"data":[{"id":"a","context_window":131072,"max_completion_tokens":32768}]}`, []Listed{{ID: "a", Window: 131072, MaxOutput: 32768}}},
		"vllm":            {`{"data":[{"id":"a","max_model_len":8192}]}`, []Listed{{ID: "a", Window: 8192}}},
		"llama.cpp":       {`{"models":[{"name":"b"}],"data":[{"id":"a","meta":{"n_ctx_train":131072}}]}`, []Listed{{ID: "a"}}},
		"llama.cpp later": {`{"data":[{"id":"a","meta":{"n_ctx_train":131072,"n_ctx":4096}}]}`, []Listed{{ID: "a", Window: 4096}}},
		"openrouter": {
			`{"data":[{"id":"a/b","context_length":200000,"top_provider":{"context_length":1000,"max_completion_tokens":64000},"supported_parameters":["tools","top_p"]}]}`,
			[]Listed{{ID: "a/b", Window: 200000, MaxOutput: 64000, Thinking: &no, Tools: &yes}},
		},
		"mistral":   {`{"data":[{"id":"a","max_context_length":32768,"capabilities":{"function_calling":true,"vision":false}}]}`, []Listed{{ID: "a", Window: 32768, Tools: &yes}}},
		"anthropic": {`{"data":[{"id":"a","max_input_tokens":200000,"max_tokens":64000,"capabilities":{"thinking":{"supported":true}}}],"has_more":false}`, []Listed{{ID: "a", Window: 200000, MaxOutput: 64000, Thinking: &yes}}},
		"bare":      {`[{"id":"a","context_length":4096}]`, []Listed{{ID: "a", Window: 4096}}},
		"nonsense":  {`{"data":[{"id":"a","context_window":-5,"max_model_len":"many","context_length":1e300,"capabilities":7},{"id":5},null,"x",{"id":""}]}`, []Listed{{ID: "a"}}},
	} {
		at := lister(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/models" || r.Header.Get("Authorization") != "Bearer sk-secret-of-box" {
				w.WriteHeader(http.StatusTeapot)
			}
			fmt.Fprint(w, test.body)
		})
		got, err := at.List(t.Context(), Listing{Path: "/models", Header: Bearer})
		if diff := cmp.Diff(test.want, got); diff != "" || err != nil {
			t.Errorf("%s: %v\n%s", name, err, diff)
		}
	}
}

func TestListPages(t *testing.T) {
	at := lister(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("after_id") == "" {
			fmt.Fprint(w, `{"data":[{"id":"a"}],"has_more":true,"last_id":"a b"}`)
			return
		}
		fmt.Fprintf(w, `{"data":[{"id":%q}],"has_more":true,"last_id":"a b"}`, r.URL.Query().Get("after_id"))
	})
	got, err := at.List(t.Context(), Listing{Path: "/models"})
	if err != nil || len(got) != 2 || got[1].ID != "a b" {
		t.Errorf("%+v %v", got, err)
	}
	page := 0
	at = lister(t, func(w http.ResponseWriter, _ *http.Request) {
		page++
		fmt.Fprintf(w, `{"data":[{"id":"a"}],"has_more":true,"last_id":"%d"}`, page)
	})
	if _, err := at.List(t.Context(), Listing{Path: "/models"}); err == nil || page != maxPages {
		t.Errorf("a list without end: %v after %d pages", err, page)
	}
}

func TestListErrors(t *testing.T) {
	for name, test := range map[string]struct {
		status int
		media  string
		body   string
		class  events.ErrorClass
		says   string
	}{
		"wrong key":          {401, "", `{"error":{"message":"no such key: sk-secret-of-box"}}`, events.ErrorAuth, "no such key: [key]"},
		"not there":          {404, "", `404 page not found`, "", "404"},
		"a page":             {200, "text/html", "<html>", events.ErrorInvalid, "is the base URL right?"},
		"no JSON":            {200, "", "hello", events.ErrorInvalid, "did not answer with a list"},
		"no list":            {200, "", `{"object":"list"}`, events.ErrorInvalid, "has no list of models"},
		"too large":          {200, "", `{"data":["` + strings.Repeat("x", MaxReply) + `"]}`, events.ErrorInvalid, "larger than 16 MiB"},
		"redirected":         {302, "", "", events.ErrorInvalid, "the endpoint sends to https://elsewhere.example/models, and a key is sent to no other place: is the base URL right?"},
		"a page of an error": {502, "text/html", "<html>bad gateway</html>", events.ErrorOverloaded, "502"},
		"a bare text":        {200, "", `"models"`, events.ErrorInvalid, "did not answer with a list"},
		"an error":           {200, "", `{"error":{"message":"not here"}}`, events.ErrorInvalid, "no list of models"},
	} {
		at := lister(t, func(w http.ResponseWriter, _ *http.Request) {
			if test.media != "" {
				w.Header().Set("Content-Type", test.media)
			}
			if test.status == http.StatusFound {
				w.Header().Set("Location", "https://elsewhere.example/models?key=sk-secret-of-box")
			}
			w.WriteHeader(test.status)
			fmt.Fprint(w, test.body)
		})
		_, err := at.List(t.Context(), Listing{Path: "/models", Header: Bearer})
		var failed *actors.ModelError
		if !errors.As(err, &failed) || test.class != "" && failed.Class != test.class || !strings.Contains(err.Error(), test.says) || strings.Contains(err.Error(), "sk-secret") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestListUnanswered: a server that does not answer is left after a time, and one that is not there is named.
func TestListUnanswered(t *testing.T) {
	at := lister(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	var failed *actors.ModelError
	if _, err := at.List(ctx, Listing{Path: "/models"}); !errors.As(err, &failed) || failed.Class != events.ErrorTimeout {
		t.Errorf("no answer: %v", err)
	}
	at.Base = "http://127.0.0.1:1"
	if _, err := at.List(t.Context(), Listing{Path: "/models"}); !errors.As(err, &failed) || failed.Class != events.ErrorOverloaded || !strings.Contains(err.Error(), "cannot be reached") {
		t.Errorf("nobody there: %v", err)
	}
}

// TestListLoaded: local servers say elsewhere how large the windows are that they serve.
func TestListLoaded(t *testing.T) {
	two := `{"object":"list","data":[{"id":"qwen3:4b"},{"id":"llama3:8b"}]}`
	for name, test := range map[string]struct {
		pages map[string]string
		want  []Listed
	}{
		"llama.cpp":        {map[string]string{"/v1/models": `{"data":[{"id":"a.gguf","meta":{"n_ctx_train":131072}}]}`, "/props": `{"default_generation_settings":{"n_ctx":4096},"total_slots":1}`}, []Listed{{ID: "a.gguf", Window: 4096}}},
		"Ollama":           {map[string]string{"/v1/models": two, "/api/ps": `{"models":[{"name":"llama3:8b","model":"llama3:8b","context_length":8192}]}`}, []Listed{{ID: "qwen3:4b"}, {ID: "llama3:8b", Window: 8192}}},
		"nothing loaded":   {map[string]string{"/v1/models": two, "/api/ps": `{"models":[]}`}, []Listed{{ID: "qwen3:4b"}, {ID: "llama3:8b"}}},
		"nonsense":         {map[string]string{"/v1/models": `{"data":[{"id":"a"}]}`, "/props": `{"default_generation_settings":[7]}`, "/api/ps": `<html>`}, []Listed{{ID: "a"}}},
		"said in the list": {map[string]string{"/v1/models": `{"data":[{"id":"a","max_model_len":8192}]}`, "/props": `{"default_generation_settings":{"n_ctx":1}}`}, []Listed{{ID: "a", Window: 8192}}},
		"elsewhere":        {map[string]string{"/v1/models": `{"data":[{"id":"a"}]}`, "/props": "to http://127.0.0.1:1/"}, []Listed{{ID: "a"}}},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			page, has := test.pages[r.URL.Path]
			if to, redirect := strings.CutPrefix(page, "to "); redirect {
				http.Redirect(w, r, to, http.StatusFound)
			} else if !has {
				http.NotFound(w, r)
			} else {
				fmt.Fprint(w, page)
			}
		}))
		at, err := New(Config{Name: "box", BaseURL: server.URL + "/v1", Client: server.Client()})
		if err != nil {
			t.Fatal(err)
		}
		got, err := at.List(t.Context(), Listing{Path: "/models"})
		if diff := cmp.Diff(test.want, got); diff != "" || err != nil {
			t.Errorf("%s: %v\n%s", name, err, diff)
		}
		server.Close()
	}
}
