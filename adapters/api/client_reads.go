package api

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"example.com/life/actors/history"
	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/projections"
	"example.com/life/sagas"
)

// Agents lists the agents that a filter chooses, by name.
func (c *Client) Agents(ctx context.Context, filter projections.AgentFilter) ([]projections.AgentSummary, error) {
	all := []projections.AgentSummary{}
	query := url.Values{}
	for name, value := range filter.Query().Parameters {
		query.Set(name, value)
	}
	for {
		left := mostAgents
		if filter.Limit != 0 {
			left = min(left, filter.Limit-len(all))
		}
		query.Set("limit", strconv.Itoa(left))
		var page agentList
		if err := c.get(ctx, "/v1/agents", query, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Agents...)
		if page.Next == "" || len(page.Agents) == 0 || len(all) == filter.Limit {
			return all, nil
		}
		query.Set("after", string(page.Agents[len(page.Agents)-1].ID))
	}
}

// State folds an agent's history up to and including a revision (NoRevision: all of it). All of the fold comes over but the memory
// of past commands' ids.
func (c *Client) State(ctx context.Context, agent events.AgentID, at events.Revision) (history.AgentState, error) {
	if err := agent.Validate(); err != nil {
		return history.AgentState{}, invalid("%v", err)
	}
	query := url.Values{}
	if at != events.NoRevision {
		query.Set("at", strconv.FormatInt(int64(at), 10))
	}
	var state State
	if err := c.get(ctx, agentPath(agent, "state"), query, &state); err != nil {
		return history.AgentState{}, err
	}
	return state.state(), nil
}

// History returns a page of a stream as it is stored. A stream that does not exist is an empty page whose Last is NoRevision.
func (c *Client) History(
	ctx context.Context, stream events.Stream, from events.Revision, direction storage.Direction, limit storage.Limit,
) (storage.Page, error) {
	if err := storage.CheckStream(stream); err != nil {
		return storage.Page{}, err
	}
	limit = limit.Bounded()
	query := url.Values{
		"from": {strconv.FormatInt(min(max(int64(from), 0), lastRevision), 10)}, "direction": {forward},
		"limit": {strconv.Itoa(limit.Events)}, "bytes": {strconv.Itoa(limit.Bytes)},
	}
	if direction == storage.Backward {
		if from < 0 {
			return c.beforeTheFirst(ctx, stream)
		}
		query.Set("direction", backward)
	}
	var page eventPage
	err := c.get(ctx, "/v1/streams/"+url.PathEscape(string(stream))+"/events", query, &page)
	var refusal *sagas.RefusalError
	if errors.As(err, &refusal) && refusal.Code == sagas.RefusedMissing {
		return storage.Page{Last: events.NoRevision, End: true}, nil
	}
	if err != nil {
		return storage.Page{}, err
	}
	return storage.Page{Events: page.Events, Last: page.Last, End: page.End}, nil
}

// beforeTheFirst is what reading backward from before revision 0 gives: nothing, and where the stream ends.
func (c *Client) beforeTheFirst(ctx context.Context, stream events.Stream) (storage.Page, error) {
	page, err := c.History(ctx, stream, lastRevision, storage.Backward, storage.Limit{Events: 1})
	page.Events, page.End = nil, true
	return page, err
}

// Wallet folds a wallet's history: what it holds, and what is set aside for which turn.
func (c *Client) Wallet(ctx context.Context, id events.WalletID) (sagas.Wallet, error) {
	if err := id.Validate(); err != nil {
		return sagas.Wallet{}, invalid("%v", err)
	}
	var wallet Wallet
	if err := c.get(ctx, "/v1/wallets/"+string(id), nil, &wallet); err != nil {
		return sagas.Wallet{}, err
	}
	return wallet.wallet(), nil
}

// Verify has the server verify one agent's history, or all when agent is empty. progress, if given, hears from time to time how
// many of about how many events were checked.
func (c *Client) Verify(ctx context.Context, agent events.AgentID, progress func(checked, total int64)) (history.VerifyReport, error) {
	query := url.Values{}
	if agent != "" {
		query.Set("agent", string(agent))
	}
	return readLines[history.VerifyReport](ctx, c, call{method: http.MethodPost, path: "/v1/verify", query: query}, func(checked, total int64) {
		if progress != nil {
			progress(checked, total)
		}
	})
}

// CheckStore has the server check its store. progress, if given, hears from time to time how many of how many events were read.
func (c *Client) CheckStore(ctx context.Context, progress func(checked, total int64)) (StoreReport, error) {
	return readLines[StoreReport](ctx, c, call{method: http.MethodPost, path: "/v1/store/check"}, func(checked, total int64) {
		if progress != nil {
			progress(checked, total)
		}
	})
}

// AuditSecrets has the server look for secrets in its store. progress, if given, hears from time to time how far it is.
func (c *Client) AuditSecrets(ctx context.Context, level events.MaskingLevel, progress func(checked, total int64)) (SecretsReport, error) {
	query := url.Values{}
	if level != "" {
		query.Set("masking", string(level))
	}
	return readLines[SecretsReport](ctx, c, call{method: http.MethodPost, path: "/v1/store/secrets", query: query}, func(checked, total int64) {
		if progress != nil {
			progress(checked, total)
		}
	})
}

// readLines reads an answer in lines, see inspect.go.
func readLines[R any](ctx context.Context, c *Client, call call, tell func(checked, total int64)) (R, error) {
	var none R
	a, err := c.ask(ctx, call)
	if err != nil {
		return none, err
	}
	defer a.answer.Body.Close()
	decoder := json.NewDecoder(bufio.NewReader(io.LimitReader(a.answer.Body, mostAnswer)))
	for {
		var next line[R]
		err := decoder.Decode(&next)
		switch {
		case err != nil:
			return none, fmt.Errorf("read answer of %s, which broke off before the report: %w", c.hosts[a.host].Host, closedAs(ctx, unexpected(err)))
		case next.Problem != nil:
			return none, next.Problem.typed()
		case next.Report != nil:
			return *next.Report, nil
		case next.Progress != nil:
			tell(next.Progress.Checked, next.Progress.Total)
		}
	}
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
