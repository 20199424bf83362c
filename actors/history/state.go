package history

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"

	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/sagas"
)

// AgentState is an agent as of a revision.
type AgentState struct {
	Agent    sagas.Agent             `json:"agent"`
	Vector   events.AgentStateVector `json:"vector"`
	Ready    []events.RequestID      `json:"ready"` // outstanding requests
	Revision events.Revision         `json:"revision,string"`
	Digest   events.Digest           `json:"digest"`
}

// State folds an agent's history up to and including a revision (NoRevision: all of it). Looking has no effects: nothing is brought
// to life, asked or run.
func (r *Reader) State(ctx context.Context, agent events.AgentID, at events.Revision) (AgentState, error) {
	if err := agent.Validate(); err != nil {
		return AgentState{}, &sagas.RefusalError{Code: sagas.RefusedInvalid, Detail: err.Error()}
	}
	until := at
	if at == events.NoRevision {
		until = storage.Latest
	}
	saga, end, err := FoldStream(ctx, r, AgentFold(), events.AgentStream(agent), until)
	switch {
	case err != nil:
		return AgentState{}, err
	case end.Revision == events.NoRevision:
		return AgentState{}, &sagas.RefusalError{Code: sagas.RefusedMissing, Detail: "there is no agent " + string(agent)}
	case at != events.NoRevision && end.Revision < at:
		return AgentState{}, &sagas.RefusalError{
			Code: sagas.RefusedMissing, Detail: fmt.Sprintf("the history of agent %s ends at revision %d", agent, end.Revision),
		}
	}
	state := AgentState{Agent: saga, Vector: saga.Vector(), Revision: end.Revision, Digest: end.Digest, Ready: []events.RequestID{}}
	for _, request := range saga.Ready() {
		if id := request.RequestID(); id != "" {
			state.Ready = append(state.Ready, id)
		}
	}
	return state, nil
}

// Wallet folds a wallet's history.
func (r *Reader) Wallet(ctx context.Context, id events.WalletID) (sagas.Wallet, error) {
	if err := id.Validate(); err != nil {
		return sagas.Wallet{}, &sagas.RefusalError{Code: sagas.RefusedInvalid, Detail: err.Error()}
	}
	wallet, end, err := FoldStream(ctx, r, WalletFold(), events.WalletStream(id), storage.Latest)
	if err == nil && end.Revision == events.NoRevision {
		err = &sagas.RefusalError{Code: sagas.RefusedMissing, Detail: "there is no wallet " + string(id)}
	}
	return wallet, err
}

// WalletAt folds a wallet as of a time; before it was opened, as it was opened. Of one that was never opened it says so.
func (r *Reader) WalletAt(ctx context.Context, id events.WalletID, at events.Micros) (wallet sagas.Wallet, opened bool, err error) {
	s, err := r.seeker(ctx, events.WalletStream(id))
	if err != nil || s.last == events.NoRevision {
		return WalletFold().Zero(), false, err
	}
	later, err := s.first(ctx, int64(at)+1, func(e *events.Envelope) (int64, bool) { return int64(e.Time), true })
	if err != nil {
		return WalletFold().Zero(), false, fmt.Errorf("find %s as of a time: %w", s.stream, err)
	}
	wallet, _, err = FoldStream(ctx, r, WalletFold(), s.stream, max(later-1, 0))
	return wallet, true, err
}

// Rules folds a tenant's homeostasis. Without rules of its own the default ones advise.
func (r *Reader) Rules(ctx context.Context, tenant events.TenantID) (sagas.Homeostasis, error) {
	if err := tenant.Validate(); err != nil {
		return sagas.Homeostasis{}, &sagas.RefusalError{Code: sagas.RefusedInvalid, Detail: err.Error()}
	}
	found, _, err := FoldStream(ctx, r, HomeostasisFold(), events.HomeostasisStream(tenant), storage.Latest)
	return found, err
}

// OpenArguments opens the arguments of a call of the turn that runs, whole, as canonical JSON. Reading them to their end verifies those that are a blob.
func (r *Reader) OpenArguments(ctx context.Context, agent events.AgentID, call events.CallID) (io.ReadCloser, error) {
	state, err := r.State(ctx, agent, events.NoRevision)
	if err != nil {
		return nil, err
	}
	calls := state.Agent.Turn.Calls
	i := slices.IndexFunc(calls, func(c sagas.Call) bool { return c.ID == call })
	switch {
	case i < 0:
		return nil, &sagas.RefusalError{Code: sagas.RefusedMissing, Detail: fmt.Sprintf("no call %s of %s waits or runs", events.Clip(string(call), 60), agent)}
	case calls[i].Blob == nil:
		return io.NopCloser(bytes.NewReader(calls[i].Arguments)), nil
	}
	arguments, err := r.blobs.Open(ctx, *calls[i].Blob)
	if err != nil {
		return nil, fmt.Errorf("open the arguments of call %s of %s: %w", call, agent, err)
	}
	return arguments, nil
}
