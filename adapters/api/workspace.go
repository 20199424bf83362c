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

// parameterPath is the query parameter that names a file of a workspace.
const parameterPath = "path"

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
	defer file.Close()
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Disposition", "attachment")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if _, err := io.Copy(w, file); err != nil {
		s.log.Error("answer with a file", "agent", agent, "error", err)
		panic(http.ErrAbortHandler) // the client must not take what it has for the whole file
	}
	return nil
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

func atQuery(at events.Revision) url.Values {
	query := url.Values{}
	if at != events.NoRevision {
		query.Set(parameterAt, strconv.FormatInt(int64(at), 10))
	}
	return query
}
