package eventstore

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"google.golang.org/grpc/codes"
)

// filteredSilence is how long a read of everything may be without a message: the server says nothing while it looks for what a filter
// chooses. Whether its node is there is found out by the heartbeat meanwhile.
const filteredSilence = 5 * time.Minute

// errSilent is why a call ends that is without a message for too long.
var errSilent = errors.New("the event store said nothing for too long")

// watchdog ends a call that is without a message for too long. A message costs it no more than a counter.
type watchdog struct {
	heard   atomic.Uint64 // messages
	silence time.Duration
	end     context.CancelCauseFunc

	mu    sync.Mutex
	last  uint64 // messages when it looked
	timer *time.Timer
}

// watched begins to watch a call: it ends when nothing is heard for longer than silence, after twice that at the latest.
func watched(silence time.Duration, end context.CancelCauseFunc) *watchdog {
	w := &watchdog{silence: silence, end: end}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer = time.AfterFunc(silence, w.look)
	return w
}

func (w *watchdog) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if heard := w.heard.Load(); heard != w.last {
		w.last = heard
		w.timer.Reset(w.silence)
		return
	}
	w.end(errSilent)
}

// stop ends the watch; false when the call was ended by it.
func (w *watchdog) stop() bool { return w.timer.Stop() }

// silentFor is the failure of a call, or that it was ended because nothing was heard.
func (f *failure) silentFor(ctx context.Context, silence time.Duration) *failure {
	if f.code != codes.Canceled || !errors.Is(context.Cause(ctx), errSilent) {
		return f
	}
	return &failure{code: codes.DeadlineExceeded, message: "no answer within " + silence.String(), trailer: f.trailer}
}

// silence is how long a read of everything may be without a message.
func silence(n *node, pushed *streams.ReadReq_Options_FilterOptions) time.Duration {
	if pushed != nil {
		return filteredSilence
	}
	return n.target.silence
}
