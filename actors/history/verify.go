package history

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/sagas"
)

// VerifyReport says what Verify found, and what it could not look at.
type VerifyReport struct {
	Build     string       `json:"build"`            // that decided again
	Events    int64        `json:"events,string"`    // read, all of them checked but for Foreign
	Streams   int          `json:"streams"`          //
	Decisions int64        `json:"decisions,string"` // decided again, with equal events
	Chained   int64        `json:"chained,string"`   // events of streams that no saga decides: their digests alone were checked
	Raw       int64        `json:"raw,string"`       // quarantines that a host recorded because the agent could not decide any more
	Foreign   int64        `json:"foreign,string"`   // events of other programs, in streams of their own: nothing of them can be checked
	Blobs     int64        `json:"blobs,string"`     // that events refer to, read whole
	Passes    int          `json:"passes"`           // over history: more than one when the folds of all streams do not fit in memory
	Failures  []Divergence `json:"failures"`         // by position, at most maxDivergences
	More      int64        `json:"more,string"`      // failures that are not in Failures
}

// Divergence is the first place where a stream is not what it should be. A stream can have two: one where its chain is broken, and one
// before it where this build decides otherwise; and one for each blob that is missing or damaged.
type Divergence struct {
	Stream   events.Stream     `json:"stream"`
	Revision events.Revision   `json:"revision,string"`
	Position events.Position   `json:"position,string"`
	What     Problem           `json:"what"`
	Detail   string            `json:"detail"`
	Recorded *Verified         `json:"recorded,omitempty"` // the event in history
	Decided  *Verified         `json:"decided,omitempty"`  // the event that this build decides in its place
	Fields   []FieldDifference `json:"fields,omitempty"`   // in which the two differ, where they are of one kind
	First    events.Revision   `json:"first,string"`       // of the decision; what was before it is the state at First-1
	State    json.RawMessage   `json:"state,omitempty"`    // the saga's, before the decision; of the first failures only
	Host     events.HostID     `json:"host,omitempty"`     // of a cluster, that decided
	Build    string            `json:"build,omitempty"`    // of that host, as it said when it joined
}

// Verified is an event as it is stored.
type Verified struct {
	Kind    events.Kind     `json:"kind"`
	Version int             `json:"version"`
	Data    json.RawMessage `json:"data"` // a string if it is no JSON
}

// Problem sorts divergences by what they are.
type Problem string

// The problems.
const (
	ProblemGap        Problem = "gap"        // a revision is missing, or comes twice
	ProblemDigest     Problem = "digest"     // the chain does not fit: this event, or one before it, was changed
	ProblemUnreadable Problem = "unreadable" // the data are no event of their kind
	ProblemUnknown    Problem = "unknown"    // this build does not know the kind, or the version of it
	ProblemForeign    Problem = "foreign"    // another program wrote into a stream of Life's
	ProblemOrigin     Problem = "origin"     // what a fork was forked from is not there, or was changed
	ProblemRecall     Problem = "recall"     // no command of this build leads to such a decision
	ProblemRefused    Problem = "refused"    // this build refuses the command
	ProblemDecision   Problem = "decision"   // this build decides something else
	ProblemPanic      Problem = "panic"      // this build fails on the command
	ProblemBlob       Problem = "blob"       // what the event refers to is missing or damaged
)

const (
	maxDivergences = 100
	maxStates      = 10 // of the first failures; life state shows the others'
)

// Verify reads history and checks it: revisions without a gap, the digest chain, the blobs that events refer to, and, for every
// decision, that this build decides the same events from the command that history holds. It covers one agent, or the whole store when
// agent is empty. Nothing is asked, run or changed. progress, if given, hears how many events were checked, of how many about.
//
// The whole store is read once in the order of its positions, and its streams are shared out among as many goroutines as there are
// processors. What they hold is one fold for each stream, up to a limit; beyond it streams are left for another pass.
func (r *Reader) Verify(ctx context.Context, agent events.AgentID, progress func(checked, total int64)) (VerifyReport, error) {
	if progress == nil {
		progress = func(int64, int64) {}
	}
	v := newVerifier(ctx, r, progress)
	var err error
	if agent == "" {
		err = v.everything()
	} else {
		err = v.stream(events.AgentStream(agent))
	}
	report := v.finish()
	return report, errors.Join(err, r.nameBuilds(ctx, report.Failures))
}

// nameBuilds finds the builds of the hosts that decided what differs, where the streams of their clusters are in the store.
func (r *Reader) nameBuilds(ctx context.Context, failures []Divergence) error {
	if !slices.ContainsFunc(failures, func(d Divergence) bool { return d.Host != "" }) {
		return nil
	}
	builds := map[events.HostID][]string{} // of two clusters, hosts of two builds may have one id
	filter := storage.Filter{Streams: []string{string(events.ClusterStream(""))}, Kinds: []string{string(events.HostJoined{}.Kind())}}
	for from := storage.Start(); ; {
		page, err := r.journal.ReadAll(ctx, from, storage.Forward, filter, verifyPage())
		if err != nil {
			return fmt.Errorf("read which builds the hosts of clusters have: %w", err)
		}
		for i := range page.Events {
			event, err := page.Events[i].Event()
			joined, is := event.(events.HostJoined)
			if err != nil || !is {
				continue // it is a failure of its own
			}
			id := events.NewHostID(joined.Name, page.Events[i].Revision)
			if !slices.Contains(builds[id], joined.Build) {
				builds[id] = append(builds[id], joined.Build)
			}
		}
		if page.End {
			break
		}
		from = page.Next
	}
	for i := range failures {
		failures[i].Build = strings.Join(builds[failures[i].Host], " or ")
	}
	return nil
}

// stream verifies one stream.
func (v *verifier) stream(stream events.Stream) error {
	w := v.newWorker()
	defer w.close()
	for from := events.Revision(0); ; {
		page, err := v.reader.journal.Read(v.ctx, stream, from, storage.Forward, verifyPage())
		if err != nil {
			return err
		}
		if len(page.Events) == 0 && from == 0 {
			if err := v.gone(stream, 0); err != nil || len(v.found) > 0 {
				return err
			}
		}
		if page.Last == events.NoRevision {
			return &sagas.RefusalError{Code: sagas.RefusedMissing, Detail: "there is no agent " + strings.TrimPrefix(string(stream), events.AgentCategory+"-")}
		}
		for i := range page.Events {
			w.check(&page.Events[i])
		}
		v.progress(v.checked.Load(), int64(page.Last)+1)
		if page.End || len(page.Events) == 0 {
			w.finish()
			return nil
		}
		w.rest()
		from = page.Events[len(page.Events)-1].Revision + 1
	}
}

func verifyPage() storage.Limit { return storage.Limit{Events: storage.MaxPageEvents, Bytes: 4 << 20} }

// finish puts together what all workers found.
func (v *verifier) finish() VerifyReport {
	r := v.report
	r.Build, r.Blobs = v.reader.build, v.blobs.read.Load()
	r.Failures = slices.Clone(v.found)
	slices.SortFunc(r.Failures, func(a, b Divergence) int {
		return cmp.Or(cmp.Compare(a.Position, b.Position), cmp.Compare(a.Stream, b.Stream), cmp.Compare(a.Revision, b.Revision), cmp.Compare(a.Detail, b.Detail))
	})
	if n := len(r.Failures); n > maxDivergences {
		r.Failures, r.More = r.Failures[:maxDivergences], r.More+int64(n-maxDivergences)
	}
	for i := range r.Failures {
		if i >= maxStates {
			r.Failures[i].State = nil
		}
	}
	if r.Failures == nil {
		r.Failures = []Divergence{}
	}
	return r
}

// verified is an event for a report.
func verified(kind events.Kind, version int, data []byte) *Verified {
	if !json.Valid(data) {
		data, _ = json.Marshal(string(data)) //nolint:errcheck,errchkjson // strings always encode
	}
	return &Verified{Kind: kind, Version: version, Data: slices.Clone(data)}
}

// divergence is a failure at an event.
func divergence(e *events.Envelope, what Problem, format string, args ...any) *Divergence {
	return &Divergence{
		Stream: e.Stream, Revision: e.Revision, Position: e.Position, What: what, Detail: fmt.Sprintf(format, args...),
		Recorded: verified(e.Kind, e.Version, e.Data), First: e.Revision, Host: e.Host,
	}
}
