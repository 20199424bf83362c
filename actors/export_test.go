package actors

import "context"

// VerifyWithin verifies everything with little memory and so many workers.
func (h *Host) VerifyWithin(ctx context.Context, memory int64, workers int) (VerifyReport, error) {
	v := newVerifier(ctx, h, func(int64, int64) {})
	v.memory, v.workers = memory, workers
	err := v.everything()
	return v.finish(), err
}
