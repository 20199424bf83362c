package history

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

// verifyMemory is how many bytes the folds of all streams may take, about. Beyond it half of the streams are dropped and left for
// another pass, which reads history again.
const verifyMemory = 256 << 20

// mostBits bounds how finely streams are divided among passes: one stream alone may take more than verifyMemory.
const mostBits = 16

// verifier verifies a store.
type verifier struct {
	ctx      context.Context //nolint:containedctx // of one call of Verify, handed to all its workers
	reader   *Reader
	memory   int64 // what folds may take
	workers  int
	seed     maphash.Seed
	checked  atomic.Int64
	progress func(checked, total int64)
	blobs    *blobReader
	states   atomic.Int64 // given away with failures

	mu     sync.Mutex // of the rest, until all workers are done
	report VerifyReport
	found  []Divergence
}

func newVerifier(ctx context.Context, r *Reader, progress func(checked, total int64)) *verifier {
	return &verifier{
		ctx: ctx, reader: r, memory: verifyMemory, workers: runtime.GOMAXPROCS(0), seed: maphash.MakeSeed(), progress: progress,
		blobs: newBlobReader(r),
	}
}

// portion is a part of all streams: those whose hash ends in these bits.
type portion struct {
	bits uint
	end  uint64
}

func (p portion) holds(hash uint64) bool { return hash&(1<<p.bits-1) == p.end }

// halve divides a portion in two.
func (p portion) halve() (kept, left portion) {
	return portion{p.bits + 1, p.end}, portion{p.bits + 1, p.end | 1<<p.bits}
}

// everything verifies the whole store, in as many passes as it needs.
func (v *verifier) everything() error {
	last, err := v.lastPosition()
	if err != nil {
		return err
	}
	for todo := []portion{{}}; len(todo) > 0; {
		next := todo[len(todo)-1]
		left, err := v.pass(next, last)
		if err != nil {
			return err
		}
		todo = append(todo[:len(todo)-1], left...)
	}
	return v.hidden()
}

// hidden finds streams of which nothing can be read, as their metadata hide it: no pass meets them. Where a part is left, a pass met the gap.
func (v *verifier) hidden() error {
	filter, found := storage.Filter{System: true}, map[events.Stream]bool{}
	for _, category := range []string{
		events.AgentCategory, events.WalletCategory, events.HomeostasisCategory, events.KnowledgeCategory, events.ProjectionsCategory, events.EffectCategory,
		events.ClusterCategory,
	} {
		filter.Streams = append(filter.Streams, "$$"+category+"-")
	}
	for i := range v.found {
		found[v.found[i].Stream] = true
	}
	for place := storage.Start(); ; {
		page, err := v.reader.journal.ReadAll(v.ctx, place, storage.Forward, filter, verifyPage())
		if err != nil {
			return fmt.Errorf("read the metadata of streams: %w", err)
		}
		for i := range page.Events {
			e := &page.Events[i]
			stream := e.Stream[len("$$"):]
			if found[stream] {
				continue
			}
			found[stream] = true
			if err := v.gone(stream, e.Position); err != nil {
				return err
			}
		}
		if page.End {
			return nil
		}
		place = page.Next
	}
}

// gone notes a stream whose beginning cannot be read.
func (v *verifier) gone(stream events.Stream, at events.Position) error {
	err := v.reader.beginning(v.ctx, stream)
	var unreadable *UnreadableError
	if !errors.As(err, &unreadable) {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.report.Streams++
	v.found = append(v.found, Divergence{Stream: stream, Position: at, What: ProblemGap, Detail: unreadable.Error()})
	return nil
}

func (v *verifier) lastPosition() (events.Position, error) {
	page, err := v.reader.journal.ReadAll(v.ctx, storage.End(), storage.Backward, storage.Filter{}, storage.Limit{Events: 1})
	if err != nil || len(page.Events) == 0 {
		return 0, err
	}
	return page.Events[0].Position, nil
}

// verifyTask is what a worker does next.
type verifyTask struct {
	events []*events.Envelope
	narrow *portion // keep only these streams
}

// pass reads history once and verifies a portion of its streams, or less: what it leaves is for other passes.
func (v *verifier) pass(mine portion, last events.Position) (left []portion, err error) {
	v.report.Passes++
	workers := make([]*verifyWorker, v.workers)
	inboxes := make([]chan verifyTask, v.workers)
	var working sync.WaitGroup
	for i := range workers {
		workers[i], inboxes[i] = v.newWorker(), make(chan verifyTask, 2)
		working.Go(func() { workers[i].run(inboxes[i]) })
	}
	defer func() {
		for _, inbox := range inboxes {
			close(inbox)
		}
		working.Wait()
		for _, w := range workers {
			if err == nil {
				w.finish()
			}
			w.close()
		}
	}()
	read := int64(0) // events of history, whosever they are
	for place := storage.Start(); ; {
		page, err := v.reader.journal.ReadAll(v.ctx, place, storage.Forward, storage.Filter{}, verifyPage())
		if err != nil {
			return nil, err
		}
		for i, task := range v.share(page.Events, mine) {
			if len(task.events) > 0 {
				inboxes[i] <- task
			}
		}
		if n := len(page.Events); n > 0 {
			read += int64(n)
			v.progress(v.checked.Load(), int64(float64(read)*max(1, float64(last)/float64(page.Events[n-1].Position))))
		}
		if page.End {
			return left, nil
		}
		place = page.Next
		if held(workers) > v.memory && mine.bits < mostBits {
			var other portion
			mine, other = mine.halve()
			left = append(left, other)
			for _, inbox := range inboxes {
				narrow := mine
				inbox <- verifyTask{narrow: &narrow}
			}
		}
	}
}

// share gives each worker its events of a page, in their order.
func (v *verifier) share(page []events.Envelope, mine portion) []verifyTask {
	tasks := make([]verifyTask, v.workers)
	for i := range page {
		hash := maphash.String(v.seed, string(page[i].Stream))
		if mine.holds(hash) {
			task := &tasks[hash>>32%uint64(v.workers)]
			task.events = append(task.events, &page[i])
		}
	}
	return tasks
}

func held(workers []*verifyWorker) (size int64) {
	for _, w := range workers {
		size += w.held.Load()
	}
	return size
}

// verifyWorker keeps one checker for each stream it is given.
type verifyWorker struct {
	v       *verifier
	streams map[events.Stream]checker
	touched map[events.Stream]checker // since the last rest
	held    atomic.Int64              // bytes, about
	found   []Divergence
	more    int64
}

func (v *verifier) newWorker() *verifyWorker {
	return &verifyWorker{v: v, streams: map[events.Stream]checker{}, touched: map[events.Stream]checker{}}
}

func (w *verifyWorker) run(inbox <-chan verifyTask) {
	for task := range inbox {
		for _, e := range task.events {
			w.check(e)
		}
		if task.narrow != nil {
			w.narrow(*task.narrow)
		}
		w.rest()
	}
}

func (w *verifyWorker) check(e *events.Envelope) {
	c, known := w.streams[e.Stream]
	if !known {
		c = w.v.newChecker(e.Stream)
		w.streams[e.Stream] = c
		w.held.Add(c.size())
	}
	w.touched[e.Stream] = c
	before := c.size()
	c.check(e, w.note)
	w.held.Add(c.size() - before)
	w.v.checked.Add(1)
}

// rest is called between pages: what was read of a page is kept no longer than needed.
func (w *verifyWorker) rest() {
	for _, c := range w.touched {
		c.rest()
	}
	clear(w.touched)
}

// narrow forgets the streams that are left for another pass.
func (w *verifyWorker) narrow(mine portion) {
	for stream, c := range w.streams {
		if mine.holds(maphash.String(w.v.seed, string(stream))) {
			continue
		}
		w.held.Add(-c.size())
		w.v.checked.Add(-c.count().events)
		delete(w.streams, stream)
	}
	w.found = slices.DeleteFunc(w.found, func(d Divergence) bool { return w.streams[d.Stream] == nil })
}

func (w *verifyWorker) note(d *Divergence) {
	if len(w.found) == 10*maxDivergences {
		w.more++
		return
	}
	w.found = append(w.found, *d)
}

// finish completes the last decision of every stream, and adds what was found to the report.
func (w *verifyWorker) finish() {
	for _, c := range w.streams {
		c.finish(w.note)
	}
}

// close adds what was found to the report.
func (w *verifyWorker) close() {
	v := w.v
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, c := range w.streams {
		count := c.count()
		v.report.Streams++
		v.report.Events += count.events
		v.report.Decisions += count.decisions
		v.report.Chained += count.chained
		v.report.Raw += count.raw
		v.report.Foreign += count.foreign
	}
	v.report.More += w.more
	v.found = append(v.found, w.found...)
}
