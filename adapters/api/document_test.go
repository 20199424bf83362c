package api

import (
	"context"

	"example.com/life/actors"
	"example.com/life/events"
	"example.com/life/projections"
	"example.com/life/sagas"
)

// nothing is a host that accepts everything and holds nothing.
type nothing struct{}

func (nothing) Do(_ context.Context, stream events.Stream, _ sagas.Command, _ actors.Origin) (actors.Receipt, error) {
	return actors.Receipt{Stream: stream}, nil
}
func (nothing) Agents(context.Context) ([]projections.AgentSummary, error) { return nil, nil }

func (nothing) State(context.Context, events.AgentID, events.Revision) (actors.AgentState, error) {
	return actors.AgentState{}, nil
}

func (nothing) History(context.Context, events.Stream, events.Revision, actors.Direction, actors.Limit) (actors.Page, error) {
	return actors.Page{}, nil
}

func (nothing) Watch(context.Context, events.AgentID, events.Revision) (actors.Feed, error) {
	return nil, actors.ErrClosed
}

func (nothing) Wallet(context.Context, events.WalletID) (sagas.Wallet, error) {
	return sagas.NewWallet(), nil
}

func (nothing) Verify(context.Context, events.AgentID, func(int64)) (actors.VerifyReport, error) {
	return actors.VerifyReport{}, nil
}
