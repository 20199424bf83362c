package endpoint

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"example.com/life/events"
)

// Listing says how an endpoint of a dialect is asked which models it has.
type Listing struct {
	Path   string                       // below its base
	Header func(key string) http.Header // what proves who asks
}

// Listed is a model as its endpoint lists it. What it does not say is zero.
type Listed struct {
	ID        string
	Window    int64 // tokens of prompt and reply together
	MaxOutput int64 // tokens of a reply
	Thinking  *bool
	Tools     *bool
}

// Bounds of a list.
const (
	listTime  = 30 * time.Second
	maxPages  = 20
	maxListed = 10_000
	mostCount = 1 << 40 // tokens
)

// List asks an endpoint which models it has.
func (e *Endpoint) List(ctx context.Context, how Listing) ([]Listed, error) {
	ctx, cancel := context.WithTimeout(ctx, listTime)
	defer cancel()
	var all []Listed
	after := ""
	for range maxPages {
		page, last, err := e.listPage(ctx, how, after)
		if err != nil {
			return nil, err
		}
		all = append(all, page...)
		if len(all) > maxListed {
			return nil, fmt.Errorf("it lists more than %d models", maxListed)
		}
		if last == "" || last == after {
			e.loaded(ctx, all)
			return all, nil
		}
		after = last
	}
	return nil, fmt.Errorf("its list has more than %d pages", maxPages)
}

// loaded fills in the windows that local servers do not say in their lists, but for the models that they have loaded: llama.cpp's in /props, Ollama's in
// /api/ps. No other server has these, and then nothing is filled in. A key is sent as with the list.
func (e *Endpoint) loaded(ctx context.Context, all []Listed) {
	unknown := func(l Listed) bool { return l.Window == 0 }
	if e.Own || !slices.ContainsFunc(all, unknown) {
		return
	}
	origin := strings.TrimSuffix(e.Base, "/v1")
	var props struct {
		Settings fields `json:"default_generation_settings"`
	}
	if len(all) == 1 && e.get(ctx, origin+"/props", &props) {
		all[0].Window = props.Settings.count("n_ctx")
		return
	}
	var running struct {
		Models []fields `json:"models"`
	}
	if !e.get(ctx, origin+"/api/ps", &running) {
		return
	}
	for _, model := range running.Models {
		for i := range all {
			if unknown(all[i]) && (all[i].ID == model.text("name") || all[i].ID == model.text("model")) {
				all[i].Window = model.count("context_length")
			}
		}
	}
}

// get reads a small JSON object; false: there is none.
func (e *Endpoint) get(ctx context.Context, address string, into any) bool {
	const most = 1 << 20
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return false
	}
	if e.Key != "" {
		request.Header = Bearer(e.Key)
	}
	response, err := e.Client.Do(request)
	if err != nil {
		return false
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, most))
	return err == nil && response.StatusCode == http.StatusOK && json.Unmarshal(body, into) == nil
}

func (e *Endpoint) listPage(ctx context.Context, how Listing, after string) (page []Listed, last string, err error) {
	address := e.Base + how.Path
	if after != "" {
		address += "?after_id=" + url.QueryEscape(after)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, "", e.Failed(events.ErrorInvalid, err.Error(), 0)
	}
	if how.Header != nil && e.Key != "" {
		request.Header = how.Header(e.Key)
	}
	request.Header.Set("Accept", "application/json")
	response, err := e.Client.Do(request)
	if err != nil {
		return nil, "", e.Unreached(err)
	}
	defer response.Body.Close()
	media, _, _ := strings.Cut(response.Header.Get("Content-Type"), ";")
	if media = strings.ToLower(strings.TrimSpace(media)); response.StatusCode < 200 || response.StatusCode >= 300 || media == "text/html" {
		return nil, "", e.notAReply(response, media)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, MaxReply+1))
	switch {
	case err != nil:
		return nil, "", e.Unreached(err)
	case len(body) > MaxReply:
		return nil, "", e.Failed(events.ErrorInvalid, fmt.Sprintf("its list of models is larger than %d MiB", MaxReply>>20), 0)
	}
	page, last, err = readList(body)
	if err != nil {
		return nil, "", e.Failed(events.ErrorInvalid, err.Error(), 0)
	}
	return page, last, nil
}

// readList reads a list in the shapes in which it is sent: as data of an object, as models of one, or bare.
func readList(body []byte) (page []Listed, last string, err error) {
	var list struct {
		Data    []json.RawMessage `json:"data"`
		Models  []json.RawMessage `json:"models"`
		HasMore bool              `json:"has_more"`
		LastID  string            `json:"last_id"`
	}
	if json.Unmarshal(body, &list) != nil && json.Unmarshal(body, &list.Data) != nil {
		return nil, "", errors.New("it did not answer with a list of models: is the base URL right?")
	}
	items := list.Data
	if items == nil {
		items = list.Models
	}
	if items == nil {
		return nil, "", errors.New("its answer has no list of models")
	}
	for _, raw := range items {
		if listed, ok := readListed(raw); ok {
			page = append(page, listed)
		}
	}
	if list.HasMore {
		last = list.LastID
	}
	return page, last, nil
}

// fields is a JSON object of which little is known.
type fields map[string]json.RawMessage

func (f fields) within(name string) fields {
	var inner fields
	if json.Unmarshal(f[name], &inner) != nil {
		return nil
	}
	return inner
}

func (f fields) text(names ...string) string {
	for _, name := range names {
		var text string
		if json.Unmarshal(f[name], &text) == nil && text != "" {
			return text
		}
	}
	return ""
}

// count is the first of the numbers that makes sense.
func (f fields) count(names ...string) int64 {
	for _, name := range names {
		value, err := strconv.ParseFloat(strings.Trim(string(f[name]), `"`), 64)
		if err == nil && value >= 1 && value <= mostCount && value == math.Trunc(value) {
			return int64(value)
		}
	}
	return 0
}

// can reads an ability: a truth value, or an object that says whether it is supported.
func (f fields) can(names ...string) *bool {
	for _, name := range names {
		var can bool
		if raw, is := f[name]; is && string(raw) != "null" && json.Unmarshal(raw, &can) == nil {
			return &can
		}
		if supported := f.within(name); supported != nil {
			return supported.can("supported")
		}
	}
	return nil
}

// readListed reads one model. What servers say of the window is what they serve, not what the model was trained with.
func readListed(raw json.RawMessage) (Listed, bool) {
	var f fields
	if json.Unmarshal(raw, &f) != nil {
		return Listed{}, false
	}
	l := Listed{ID: f.text("id", "name", "model")}
	if l.ID == "" {
		return l, false
	}
	best, meta := f.within("top_provider"), f.within("meta")
	l.Window = f.count("loaded_context_length", "context_window", "max_model_len", "context_length", "max_context_length", "max_input_tokens", "inputTokenLimit")
	if l.Window == 0 {
		l.Window = max(best.count("context_length"), meta.count("n_ctx"))
	}
	l.MaxOutput = f.count("max_completion_tokens", "max_output_tokens", "max_tokens", "outputTokenLimit")
	if l.MaxOutput == 0 {
		l.MaxOutput = best.count("max_completion_tokens")
	}
	able := f.within("capabilities")
	l.Tools, l.Thinking = able.can("function_calling", "tools", "tool_use"), able.can("thinking", "reasoning")
	var parameters []string
	if json.Unmarshal(f["supported_parameters"], &parameters) == nil && len(parameters) > 0 {
		tools, thinking := slices.Contains(parameters, "tools"), slices.Contains(parameters, "reasoning")
		l.Tools, l.Thinking = &tools, &thinking
	}
	return l, true
}

// Bearer is the header of most dialects.
func Bearer(key string) http.Header { return http.Header{"Authorization": {"Bearer " + key}} }
