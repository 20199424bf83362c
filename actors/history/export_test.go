package history

import "context"

// VerifyWithin verifies everything with little memory and so many workers.
func (r *Reader) VerifyWithin(ctx context.Context, memory int64, workers int) (VerifyReport, error) {
	v := newVerifier(ctx, r, func(int64, int64) {})
	v.memory, v.workers = memory, workers
	err := v.everything()
	return v.finish(), err
}
