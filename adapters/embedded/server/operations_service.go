package server

import (
	"context"
	"log/slog"

	"google.golang.org/grpc/codes"

	"example.com/life/adapters/embedded/groups"
	"example.com/life/adapters/embedded/server/protocol/operations"
)

// operationsService is the protocol's service for operating a node, as far as there is something to operate. All of it is for $ops
// and $admins.
type operationsService struct {
	operations.UnimplementedOperationsServer
	groups   *groups.Groups
	guard    guard
	log      *slog.Logger
	shutdown func() // has the server end in good order, and returns at once
}

// RestartPersistentSubscriptions implements operations.OperationsServer.
func (s *operationsService) RestartPersistentSubscriptions(ctx context.Context, _ *operations.Empty) (*operations.Empty, error) {
	if err := s.guard.operator(callerOf(ctx)); err != nil {
		return nil, err
	}
	if err := s.groups.Restart(ctx); err != nil {
		return nil, groupFailure(err, allStream)
	}
	return &operations.Empty{}, nil
}

// Shutdown implements operations.OperationsServer. It is answered first.
func (s *operationsService) Shutdown(ctx context.Context, _ *operations.Empty) (*operations.Empty, error) {
	who := callerOf(ctx)
	if err := s.guard.operator(who); err != nil {
		return nil, err
	}
	s.log.InfoContext(ctx, "a client asked the server to shut down", "user", who.name, "from", addressOf(ctx))
	s.shutdown()
	return &operations.Empty{}, nil
}

// StartScavenge implements operations.OperationsServer.
func (s *operationsService) StartScavenge(ctx context.Context, _ *operations.StartScavengeReq) (*operations.ScavengeResp, error) {
	return nil, s.meaningless(ctx, operations.Operations_StartScavenge_FullMethodName, "this store keeps every event, and has nothing to scavenge")
}

// StopScavenge implements operations.OperationsServer: no scavenge has whatever id.
func (s *operationsService) StopScavenge(ctx context.Context, request *operations.StopScavengeReq) (*operations.ScavengeResp, error) {
	if err := s.guard.operator(callerOf(ctx)); err != nil {
		return nil, err
	}
	return nil, fail(codes.NotFound, "Scavenge id was invalid.", trailerException, "scavenge-not-found", "scavenge-id", request.GetOptions().GetScavengeId())
}

// MergeIndexes implements operations.OperationsServer.
func (s *operationsService) MergeIndexes(ctx context.Context, _ *operations.Empty) (*operations.Empty, error) {
	return nil, s.meaningless(ctx, operations.Operations_MergeIndexes_FullMethodName, "this store merges its index by itself")
}

// ResignNode implements operations.OperationsServer.
func (s *operationsService) ResignNode(ctx context.Context, _ *operations.Empty) (*operations.Empty, error) {
	return nil, s.meaningless(ctx, operations.Operations_ResignNode_FullMethodName, "it is alone, and no other node could lead")
}

// SetNodePriority implements operations.OperationsServer.
func (s *operationsService) SetNodePriority(ctx context.Context, _ *operations.SetNodePriorityReq) (*operations.Empty, error) {
	return nil, s.meaningless(ctx, operations.Operations_SetNodePriority_FullMethodName, "it is alone, and there are no elections")
}

// meaningless refuses what means nothing on one embedded node, after asking who wants it.
func (s *operationsService) meaningless(ctx context.Context, method, why string) error {
	if err := s.guard.operator(callerOf(ctx)); err != nil {
		return err
	}
	return unsupportedHere(method, why)
}
