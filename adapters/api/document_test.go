package api

import (
	"context"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"example.com/life/actors"
	"example.com/life/actors/history"
	"example.com/life/actors/projector"
	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/projections"
	"example.com/life/projections/runs"
	"example.com/life/sagas"
)

// nothing is a host that accepts everything and holds nothing.
type nothing struct{}

func (nothing) Do(_ context.Context, stream events.Stream, _ sagas.Command, _ actors.Origin) (actors.Receipt, error) {
	return actors.Receipt{Stream: stream}, nil
}

func (nothing) Agents(context.Context, projections.AgentFilter) ([]projections.AgentSummary, error) {
	return nil, nil
}

func (nothing) State(context.Context, events.AgentID, events.Revision) (history.AgentState, error) {
	return history.AgentState{}, nil
}

func (nothing) History(context.Context, events.Stream, events.Revision, storage.Direction, storage.Limit) (storage.Page, error) {
	return storage.Page{}, nil
}

func (nothing) Watch(context.Context, events.AgentID, events.Revision) (actors.Feed, error) {
	return nil, storage.ErrClosed
}

func (nothing) Wallet(context.Context, events.WalletID) (sagas.Wallet, error) {
	return sagas.NewWallet(), nil
}

func (nothing) Verify(context.Context, events.AgentID, func(int64, int64)) (history.VerifyReport, error) {
	return history.VerifyReport{}, nil
}

func (nothing) Projections(context.Context) ([]projector.Status, error) { return nil, nil }

func (nothing) Projection(context.Context, string) (projector.Status, error) {
	return projector.Status{}, nil
}

func (nothing) Rebuild(context.Context, []string, func(at, head events.Position)) (projector.Rebuilt, error) {
	return projector.Rebuilt{}, nil
}

func (nothing) Step(context.Context, string, events.Position, int) ([]projector.Step, error) {
	return nil, nil
}

func (nothing) Query(context.Context, projector.Question, func(int64)) (projector.Answer, error) {
	return projector.Answer{}, nil
}

func (nothing) Resolve(context.Context, events.AgentID, events.Moment) (history.Stretch, error) {
	return history.Stretch{}, nil
}

func (nothing) Compare(context.Context, history.CompareOrder, func(int64)) (history.Comparison, error) {
	return history.Comparison{}, nil
}

func (nothing) Difference(context.Context, events.AgentID, events.Moment, events.Moment, func(int64)) (history.Difference, error) {
	return history.Difference{}, nil
}

func (nothing) Waterfall(context.Context, events.TurnID) (projections.Turn, error) {
	return projections.Turn{}, nil
}

func (nothing) Groups(context.Context, events.AgentID, history.GroupOrder) (history.GroupPage, error) {
	return history.GroupPage{}, nil
}

func (nothing) Search(context.Context, events.AgentID, history.Search) (history.Found, error) {
	return history.Found{}, nil
}

func (nothing) Causes(context.Context, events.Ref, func(int64)) (*runs.TraceNode, error) {
	return &runs.TraceNode{}, nil
}

func (nothing) Effects(context.Context, events.Ref, func(int64)) (*runs.TraceNode, error) {
	return &runs.TraceNode{}, nil
}

func (nothing) Fork(context.Context, actors.ForkOrder, actors.Origin) (actors.Forked, error) {
	return actors.Forked{}, nil
}

func (nothing) Unstored(context.Context, events.AgentID) ([]actors.Unstored, error) {
	return []actors.Unstored{}, nil
}

func (nothing) Cluster(context.Context, events.Stream) (actors.ClusterStatus, error) {
	return actors.ClusterStatus{}, nil
}

func (nothing) Rules(context.Context, events.TenantID) (sagas.Homeostasis, error) {
	return sagas.Homeostasis{}, nil
}

func (nothing) ListWorkspace(context.Context, events.AgentID, events.Revision) (history.ListedWorkspace, error) {
	return history.ListedWorkspace{}, nil
}

func (nothing) OpenWorkspaceFile(context.Context, events.AgentID, events.Revision, string) (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader("")), nil
}

func (nothing) OpenArguments(context.Context, events.AgentID, events.CallID) (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader("{}")), nil
}

func (nothing) CheckStore(context.Context, func(checked, total int64)) (StoreReport, error) {
	return StoreReport{}, nil
}

func (nothing) AuditSecrets(context.Context, events.MaskingLevel, func(checked, total int64)) (SecretsReport, error) {
	return SecretsReport{}, nil
}

func (nothing) Publish(context.Context, events.TenantID, BusCommand, actors.Origin) error { return nil }

func (nothing) Poisoned(context.Context, events.TenantID) ([]PoisonedCommand, error) { return nil, nil }

func (nothing) Retry(context.Context, events.TenantID, events.Revision, string) error { return nil }

func (nothing) Drop(context.Context, events.TenantID, events.Revision, string, string) error {
	return nil
}

// TestDocument looks for every route, and every status that problems have, in docs/api.md.
func TestDocument(t *testing.T) {
	document, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	for pattern := range (&server{}).routes() {
		if !strings.Contains(string(document), "`"+pattern) {
			t.Errorf("docs/api.md does not list %s", pattern)
		}
	}
	codes := []string{
		codeMalformed, codeNoRoute, codeMethod, codeMedia, codeTooLarge, codeUnauthorized, codeCrossOrigin, codeHost, codeOverloaded,
		codeUnavailable, codeUnreadable, codeFenced, codeClosed, codeFull, codeReadOnly, codeCorrupt, codeStream, codeTimeout, CodeInternal, string(sagas.RefusedInvalid),
		string(sagas.RefusedMissing), string(sagas.RefusedExists), string(sagas.RefusedState), string(sagas.RefusedQueue),
		string(sagas.RefusedReuse), string(sagas.RefusedMismatch),
	}
	for _, code := range codes {
		if !strings.Contains(string(document), "`"+code+"`") {
			t.Errorf("docs/api.md does not list the code %s", code)
		}
		if meaningOf(code).status == http.StatusInternalServerError && code != CodeInternal && code != codeCorrupt {
			t.Errorf("code %s is not in the table", code)
		}
	}
}
