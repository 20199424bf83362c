package cmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/google/uuid"

	"example.com/life/actors"
	"example.com/life/actors/history"
	"example.com/life/actors/projector"
	"example.com/life/actors/storage"
	"example.com/life/adapters/api"
	"example.com/life/adapters/embedded"
	"example.com/life/events"
	"example.com/life/projections"
	"example.com/life/projections/runs"
	"example.com/life/sagas"
)

// driver is what most verbs need of a host, in this process or behind life serve.
type driver interface {
	Do(ctx context.Context, stream events.Stream, command sagas.Command, origin actors.Origin) (actors.Receipt, error)
	Agents(ctx context.Context, filter projections.AgentFilter) ([]projections.AgentSummary, error)
	State(ctx context.Context, agent events.AgentID, at events.Revision) (history.AgentState, error)
	History(ctx context.Context, stream events.Stream, from events.Revision, direction storage.Direction, limit storage.Limit) (storage.Page, error)
	Watch(ctx context.Context, agent events.AgentID, after events.Revision) (actors.Feed, error)
}

// projectionHost is what the verbs need that ask what follows from history.
type projectionHost interface {
	Projections(ctx context.Context) ([]projector.Status, error)
	Projection(ctx context.Context, name string) (projector.Status, error)
	Query(ctx context.Context, ask projector.Question, progress func(folded int64)) (projector.Answer, error)
	Rebuild(ctx context.Context, names []string, progress func(at, head events.Position)) (projector.Rebuilt, error)
	Step(ctx context.Context, name string, from events.Position, count int) ([]projector.Step, error)
}

// inspector is what the verbs need that look at more than agents.
type inspector interface {
	Wallet(ctx context.Context, id events.WalletID) (sagas.Wallet, error)
	Verify(ctx context.Context, agent events.AgentID, progress func(checked, total int64)) (history.VerifyReport, error)
	CheckStore(ctx context.Context, progress func(checked, total int64)) (api.StoreReport, error)
}

// past is what the verbs need that look back.
type past interface {
	Resolve(ctx context.Context, agent events.AgentID, moment events.Moment) (history.Stretch, error)
	Difference(ctx context.Context, agent events.AgentID, from, to events.Moment, progress func(looked int64)) (history.Difference, error)
	Waterfall(ctx context.Context, turn events.TurnID) (projections.Turn, error)
	Causes(ctx context.Context, event events.Ref, progress func(read int64)) (*runs.Deed, error)
	Effects(ctx context.Context, event events.Ref, progress func(read int64)) (*runs.Deed, error)
}

// chronicle is what the verbs need that read histories turn by turn and search them.
type chronicle interface {
	Groups(ctx context.Context, agent events.AgentID, order history.GroupOrder) (history.GroupPage, error)
	Search(ctx context.Context, agent events.AgentID, order history.Search) (history.Found, error)
}

// forker is what the verbs need that make forks, and rules for them.
type forker interface {
	Fork(ctx context.Context, order actors.ForkOrder, origin actors.Origin) (actors.Forked, error)
	Rules(ctx context.Context, tenant events.TenantID) (sagas.Homeostasis, error)
}

// reached is a host that a verb can ask.
type reached struct {
	driver
	inspector
	projectionHost
	past
	chronicle
	forker
	comparer
	workspaces
	bus   api.Bus
	here  bool // in this process: what it began ends with it
	close func(patience time.Duration) error
}

// Times that a verb gives others.
const (
	healthTime  = 2 * time.Second  // life serve, to say that it is there
	startTime   = time.Second      // a process that holds the directory, to say where it can be reached
	closeTime   = time.Minute      // calls that cannot be repeated, to finish
	leaveTime   = time.Second      // the same, when a person wants to leave
	connectTime = 20 * time.Second // EventStoreDB, to answer: it may be starting, or choosing a leader
	sayAfter    = time.Second      // EventStoreDB, before it is said that it is looked for
	forever     = -1               // patience without end
)

// with reaches a host, uses it and lets it go.
func (a *app) with(ctx context.Context, use func(reached) error) error {
	host, err := a.reach(ctx)
	if err != nil {
		return err
	}
	err = use(host)
	var left *exit
	if !errors.As(err, &left) || left.code != exitCancelled {
		return errors.Join(err, host.close(closeTime))
	}
	closed := make(chan error, 1)
	go func() { closed <- host.close(leaveTime) }()
	select {
	case problem := <-closed:
		return errors.Join(err, problem)
	case <-time.After(2 * leaveTime): // a store that is away keeps it: leaving is as safe as being killed
		return err
	}
}

// reach finds the running life serve of the data directory, or opens the stores in this process. The host in this process
// rests: only the agents that it is asked about go on with their work.
func (a *app) reach(ctx context.Context) (reached, error) {
	for deadline := time.Now().Add(startTime); ; {
		found, problem := a.reachServe(ctx)
		if problem == nil {
			return found, nil
		}
		if other := new(elsewhere); errors.As(problem, &other) {
			return reached{}, problem
		}
		l, err := a.openLocal(ctx, true)
		if err == nil {
			return reached{driver: l, inspector: l, projectionHost: l, past: l, chronicle: l, forker: l, comparer: l, workspaces: l, bus: commandBus{l.journal}, here: true, close: func(patience time.Duration) error {
				ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
				defer cancel()
				return l.Close(ctx)
			}}, nil
		}
		var held *embedded.Held
		if !errors.As(err, &held) {
			return reached{}, err
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			return reached{}, fmt.Errorf("%w\n"+
				"  the process that holds it cannot be reached: %w", err, problem)
		}
		select { // a life serve that is starting has the directory before it can be reached
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// serving is the file serve.json: where the life serve of a data directory is.
type serving struct {
	PID       int    `json:"pid"`
	Address   string `json:"address"` // such as http://127.0.0.1:4777
	TokenFile string `json:"token_file,omitempty"`
	Store     string `json:"store,omitempty"` // where its events are, as the setting store names it
}

const servingName = "serve.json"

// errNotServing says that no life serve runs on the data directory.
var errNotServing = errors.New("no life serve is running on it")

// readServing reads where life serve is.
func readServing(data string) (serving, error) {
	file, err := os.Open(filepath.Join(data, servingName))
	if errors.Is(err, os.ErrNotExist) {
		return serving{}, errNotServing
	}
	if err != nil {
		return serving{}, err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, 64<<10))
	if err != nil {
		return serving{}, err
	}
	var s serving
	if err := json.Unmarshal(text, &s); err != nil || s.PID <= 0 || s.Address == "" {
		return serving{}, fmt.Errorf("%s does not hold the address of life serve: delete it", file.Name())
	}
	if err := syscall.Kill(s.PID, 0); errors.Is(err, syscall.ESRCH) {
		return serving{}, errNotServing // it was killed
	}
	return s, nil
}

// writeServing says where life serve is, whole or not at all.
func writeServing(data string, s serving) error {
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	path := filepath.Join(data, servingName)
	if err := os.WriteFile(path+".new", append(text, '\n'), 0o600); err != nil {
		return fmt.Errorf("write the address of life serve: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("write the address of life serve: %w", err)
	}
	return nil
}

// newMeta identifies a command: by the id that was given, so that it can be sent again, or by a new one.
func newMeta(id string) sagas.Meta {
	if id == "" {
		id = uuid.NewString()
	}
	return sagas.Meta{ID: events.CommandID(id), At: storage.Now()}
}

// origin is where commands of this process come from.
func origin() actors.Origin { return actors.Origin{Actor: "cli"} }

// person names who sends, approves, denies and cancels.
func (a *app) person() string {
	for _, name := range []string{"LIFE_USER", "USER", "LOGNAME"} {
		if value := a.getenv(name); value != "" {
			return value
		}
	}
	return ""
}
