package api

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"example.com/life/actors"
	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/projections"
	"example.com/life/sagas"
)

// agentList is a page of agents, by name.
type agentList struct {
	Agents []projections.AgentSummary `json:"agents"`
	Next   string                     `json:"next,omitempty"` // link to the next page; absent on the last
}

// eventPage is a page of a stream.
type eventPage struct {
	Events []events.Envelope `json:"events"`
	Last   events.Revision   `json:"last,string"` // the stream's last revision when the page was read
	End    bool              `json:"end"`         // nothing more in this direction at the moment
	Next   string            `json:"next,omitempty"`
}

// The size of a page of agents.
const (
	standardAgents = 1000
	mostAgents     = 10_000
)

// writeJSON answers with a value. It leaves "<" as it is: the digests of events cover their bytes.
func writeJSON(w http.ResponseWriter, status int, value any) error {
	body, err := encodeJSON(value)
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body) // else the client is gone, and nobody else wants the answer
	return nil
}

// encodeJSON writes a value as one line.
func encodeJSON(value any) ([]byte, error) {
	body, err := events.PlainJSON(value)
	return append(body, '\n'), err
}

// list answers with agents by name: those that match every filter in the query.
func (s *server) list(w http.ResponseWriter, r *http.Request) error {
	q, err := readQuery(r, "agent", "status", "retired", "model", "parent", "after", "limit")
	if err != nil {
		return err
	}
	limit, err := q.number("limit", standardAgents, 1, mostAgents)
	if err != nil {
		return err
	}
	active, err := q.chosen("retired", "no")
	if err != nil {
		return err
	}
	list, err := s.host.Agents(r.Context(), projections.AgentFilter{
		Agent: events.AgentID(q.text("agent")), Status: projections.AgentStatus(q.text("status")), Model: q.text("model"),
		Parent: events.AgentID(q.text("parent")), After: events.AgentID(q.text("after")), Limit: int(limit) + 1, Active: active,
	})
	if err != nil {
		return err
	}
	page := agentList{Agents: list[:min(len(list), int(limit))]}
	if len(list) > int(limit) {
		parameters := r.URL.Query()
		parameters.Set("after", string(page.Agents[limit-1].ID))
		parameters.Set("limit", strconv.FormatInt(limit, 10))
		page.Next = link(r, parameters)
	}
	return writeJSON(w, http.StatusOK, page)
}

// summary answers with one agent as the list shows it.
func (s *server) summary(w http.ResponseWriter, r *http.Request) error {
	if _, err := readQuery(r); err != nil {
		return err
	}
	id := events.AgentID(r.PathValue("agent"))
	if err := id.Validate(); err != nil {
		return &sagas.RefusalError{Code: sagas.RefusedInvalid, Detail: err.Error()}
	}
	found, err := s.host.Agents(r.Context(), projections.AgentFilter{Agent: id})
	if err != nil {
		return err
	}
	if len(found) == 0 {
		return &sagas.RefusalError{Code: sagas.RefusedMissing, Detail: "there is no agent " + string(id)}
	}
	return writeJSON(w, http.StatusOK, found[0])
}

// lastRevision is larger than any revision.
const lastRevision = 1 << 62

func (s *server) state(w http.ResponseWriter, r *http.Request) error {
	q, err := readQuery(r, parameterAt)
	if err != nil {
		return err
	}
	moment, err := q.moment(parameterAt)
	if err != nil {
		return err
	}
	agent := events.AgentID(r.PathValue("agent"))
	at, err := s.resolve(r.Context(), agent, moment)
	if err != nil {
		return err
	}
	state, err := s.host.State(r.Context(), agent, at)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, NewState(state))
}

func (s *server) agentEvents(w http.ResponseWriter, r *http.Request) error {
	id := events.AgentID(r.PathValue("agent"))
	if err := id.Validate(); err != nil {
		return &sagas.RefusalError{Code: sagas.RefusedInvalid, Detail: err.Error()}
	}
	return s.events(w, r, events.AgentStream(id))
}

func (s *server) streamEvents(w http.ResponseWriter, r *http.Request) error {
	return s.events(w, r, events.Stream(r.PathValue("stream")))
}

const (
	forward  = "forward"
	backward = "backward"
)

// events answers with a page of a stream.
func (s *server) events(w http.ResponseWriter, r *http.Request, stream events.Stream) error {
	q, err := readQuery(r, "from", "limit", "bytes", "direction")
	if err != nil {
		return err
	}
	direction, start := storage.Forward, int64(0)
	switch q.text("direction") {
	case "", forward:
	case backward:
		direction, start = storage.Backward, lastRevision
	default:
		return problem(codeMalformed, "query parameter %q is %q, want forward or backward", "direction", events.Clip(q.text("direction"), 200))
	}
	from, err := q.number("from", start, 0, lastRevision)
	if err != nil {
		return err
	}
	limit, err := q.number("limit", 0, 1, 4096)
	if err != nil {
		return err
	}
	size, err := q.number("bytes", 0, 1, 16<<20)
	if err != nil {
		return err
	}
	page, err := s.host.History(r.Context(), stream, events.Revision(from), direction, storage.Limit{Events: int(limit), Bytes: int(size)})
	if err != nil {
		return err
	}
	if page.Last == events.NoRevision {
		return &sagas.RefusalError{Code: sagas.RefusedMissing, Detail: "there is no stream " + events.Clip(string(stream), 200)}
	}
	return writeJSON(w, http.StatusOK, historyOf(r, page, direction))
}

func historyOf(r *http.Request, page storage.Page, direction storage.Direction) eventPage {
	answer := eventPage{Events: page.Events, Last: page.Last, End: page.End}
	if answer.Events == nil {
		answer.Events = []events.Envelope{}
	}
	if n := len(page.Events); n > 0 && !page.End {
		next := page.Events[n-1].Revision + 1
		if direction == storage.Backward {
			next = page.Events[n-1].Revision - 1
		}
		parameters := r.URL.Query()
		parameters.Set("from", strconv.FormatInt(int64(next), 10))
		answer.Next = link(r, parameters)
	}
	return answer
}

// link points at the same path with other parameters.
func link(r *http.Request, parameters url.Values) string {
	return r.URL.EscapedPath() + "?" + parameters.Encode()
}

func (s *server) wallet(w http.ResponseWriter, r *http.Request) error {
	if _, err := readQuery(r); err != nil {
		return err
	}
	wallet, err := s.host.Wallet(r.Context(), events.WalletID(r.PathValue("wallet")))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, NewWallet(wallet))
}

// UnstoredList answers GET /v1/unstored.
type UnstoredList struct {
	Unstored []actors.Unstored `json:"unstored"`
}

func (s *server) unstored(w http.ResponseWriter, r *http.Request) error {
	q, err := readQuery(r, "agent")
	if err != nil {
		return err
	}
	list, err := s.host.Unstored(r.Context(), events.AgentID(q.text("agent")))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, UnstoredList{list})
}

func (s *server) cluster(w http.ResponseWriter, r *http.Request) error {
	q, err := readQuery(r, "stream")
	if err != nil {
		return err
	}
	status, err := s.host.Cluster(r.Context(), events.Stream(q.text("stream")))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, status)
}

func (s *server) healthy(w http.ResponseWriter, r *http.Request) error {
	if _, err := readQuery(r); err != nil {
		return err
	}
	health := s.health
	if s.members != nil {
		health.Members = s.members()
	}
	return writeJSON(w, http.StatusOK, health)
}
