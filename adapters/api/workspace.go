package api

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"example.com/life/actors/history"
	"example.com/life/events"
)

// The query parameters that name a file of a workspace, and a call.
const (
	parameterPath = "path"
	parameterCall = "call"
)

// workspace answers with the files of an agent's workspace as of a moment.
func (s *server) workspace(w http.ResponseWriter, r *http.Request) error {
	agent, at, _, err := s.workspaceAt(r, parameterAt)
	if err != nil {
		return err
	}
	listed, err := s.host.ListWorkspace(r.Context(), agent, at)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, listed)
}

// workspaceFile answers with the bytes of one file. A browser is to keep them: they are whatever an agent wrote.
func (s *server) workspaceFile(w http.ResponseWriter, r *http.Request) error {
	agent, at, q, err := s.workspaceAt(r, parameterAt, parameterPath)
	if err != nil {
		return err
	}
	file, err := s.host.OpenWorkspaceFile(r.Context(), agent, at, q.text(parameterPath))
	if err != nil {
		return err
	}
	s.sendFile(w, "application/octet-stream", agent, file)
	return nil
}

// arguments answers with the arguments of a call of the turn that runs, whole.
func (s *server) arguments(w http.ResponseWriter, r *http.Request) error {
	q, err := readQuery(r, parameterCall)
	if err != nil {
		return err
	}
	agent := events.AgentID(r.PathValue("agent"))
	if q.text(parameterCall) == "" {
		return problem(codeMalformed, "the parameter %q is missing: a call such as 2.1", parameterCall)
	}
	arguments, err := s.host.OpenArguments(r.Context(), agent, events.CallID(q.text(parameterCall)))
	if err != nil {
		return err
	}
	s.sendFile(w, "application/json", agent, arguments)
	return nil
}

// sendFile answers with what an agent wrote, and closes it.
func (s *server) sendFile(w http.ResponseWriter, media string, agent events.AgentID, file io.ReadCloser) {
	defer file.Close()
	w.Header().Set("Content-Type", media)
	w.Header().Set("Content-Disposition", "attachment")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if _, err := io.Copy(w, file); err != nil {
		s.log.Error("answer with a file", "agent", agent, "error", err)
		panic(http.ErrAbortHandler) // the client must not take what it has for the whole file
	}
}

// workspaceAt reads of whom and as of when a request asks.
func (s *server) workspaceAt(r *http.Request, parameters ...string) (events.AgentID, events.Revision, query, error) {
	q, err := readQuery(r, parameters...)
	if err != nil {
		return "", 0, q, err
	}
	m, err := q.moment(parameterAt)
	if err != nil {
		return "", 0, q, err
	}
	agent := events.AgentID(r.PathValue("agent"))
	at, err := s.resolve(r.Context(), agent, m)
	return agent, at, q, err
}

// ListWorkspace lists the files of an agent's workspace as of a revision (NoRevision: the latest).
func (c *Client) ListWorkspace(ctx context.Context, agent events.AgentID, at events.Revision) (history.ListedWorkspace, error) {
	var listed history.ListedWorkspace
	if err := agent.Validate(); err != nil {
		return listed, invalid("%v", err)
	}
	if err := c.get(ctx, agentPath(agent, "workspace"), atQuery(at), &listed); err != nil {
		return history.ListedWorkspace{}, err
	}
	for i := range listed.Files {
		if f := &listed.Files[i]; f.Raw != nil {
			f.Path = string(f.Raw)
		}
	}
	return listed, nil
}

// OpenWorkspaceFile opens a file of an agent's workspace as of a revision. What the server cannot read to its end ends with an error.
func (c *Client) OpenWorkspaceFile(ctx context.Context, agent events.AgentID, at events.Revision, path string) (io.ReadCloser, error) {
	if err := agent.Validate(); err != nil {
		return nil, invalid("%v", err)
	}
	query := atQuery(at)
	query.Set(parameterPath, path)
	answer, err := c.send(ctx, call{method: http.MethodGet, path: agentPath(agent, "workspace/file"), query: query})
	if err != nil {
		return nil, fmt.Errorf("open %q of the workspace of %s: %w", path, agent, err)
	}
	return answer.Body, nil
}

// OpenArguments opens the arguments of a call of an agent's running turn. What the server cannot read to its end ends with an error.
func (c *Client) OpenArguments(ctx context.Context, agent events.AgentID, id events.CallID) (io.ReadCloser, error) {
	if err := agent.Validate(); err != nil {
		return nil, invalid("%v", err)
	}
	query := url.Values{parameterCall: {string(id)}}
	answer, err := c.send(ctx, call{method: http.MethodGet, path: agentPath(agent, "arguments"), query: query})
	if err != nil {
		return nil, fmt.Errorf("open the arguments of call %s of %s: %w", id, agent, err)
	}
	return answer.Body, nil
}

func atQuery(at events.Revision) url.Values {
	query := url.Values{}
	if at != events.NoRevision {
		query.Set(parameterAt, strconv.FormatInt(int64(at), 10))
	}
	return query
}
