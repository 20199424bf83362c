package cmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/google/uuid"

	"example.com/life/actors"
	"example.com/life/actors/history"
	"example.com/life/actors/membership"
	"example.com/life/actors/storage"
	"example.com/life/adapters/api"
	"example.com/life/adapters/declared"
	"example.com/life/adapters/embedded"
	"example.com/life/adapters/providers"
	"example.com/life/cmd/stores"
	"example.com/life/events"
	"example.com/life/sagas"
	"example.com/life/sagas/cluster"
)

// reached is a host that a verb can ask: in this process, or behind life serve.
type reached struct {
	fullHost
	here  bool // in this process: what it began ends with it
	close func(patience time.Duration) error
}

// fullHost is what verbs need of a host.
type fullHost interface {
	api.Host
	RestoreWorkspace(ctx context.Context, agent events.AgentID, at events.Revision, dir string) (history.RestoredWorkspace, error)
}

// Times that a verb gives others.
const (
	healthTime = 2 * time.Second // life serve, to say that it is there
	startTime  = time.Second     // a process that holds the directory, to say where it can be reached
	closeTime  = time.Minute     // calls that cannot be repeated, to finish
	leaveTime  = time.Second     // the same, when a person wants to leave
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

// reach finds the running life serve of the data directory, or one of the cluster that the settings name, or opens the stores in this process. The host in this process
// rests: only the agents that it is asked about go on with their work.
func (a *app) reach(ctx context.Context) (reached, error) {
	for deadline := time.Now().Add(startTime); ; {
		found, problem := a.reachServe(ctx)
		if problem == nil {
			a.noteHostSettings()
			return found, nil
		}
		if other := new(elsewhere); errors.As(problem, &other) {
			return reached{}, problem
		}
		if found, err := a.reachCluster(ctx); !errors.Is(err, errNotServing) {
			if err == nil {
				a.noteHostSettings()
			}
			return found, err
		}
		l, err := a.openLocal(ctx, true, nil)
		if err == nil {
			return reached{fullHost: l, here: true, close: func(patience time.Duration) error {
				ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
				defer cancel()
				return l.Close(ctx)
			}}, nil
		}
		var held *embedded.HeldError
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

// restingIdle is how long an agent stays in memory for a verb, which may work with one after the other.
const restingIdle = 10 * time.Second

// openLocal opens the stores and starts a host on them. A resting one leaves alone whom it is not asked about.
func (a *app) openLocal(ctx context.Context, resting bool, joining *stores.Cluster) (*stores.Local, error) {
	masker, err := a.masker()
	if err != nil {
		return nil, err
	}
	configured := a.config.models
	configured.Tape.Mask = func(text string) string {
		masked, _ := masker.Mask(events.MaskShapes, text)
		return masked
	}
	prices, err := a.catalogue().Load()
	if err != nil {
		return nil, err
	}
	configured.MaxOutput = func(model string) int64 {
		known, _ := prices.Find(model)
		return known.MaxOutput
	}
	configured.Window = func(model string) int64 {
		known, _ := prices.Find(model)
		return known.Window
	}
	models, err := providers.New(configured)
	if err != nil {
		return nil, err
	}
	at, idle := a.place(), restingIdle
	at.Cluster = joining
	judging, err := a.config.permissions()
	if judging.Broken = err; err != nil && resting { // looking goes on, and calls ask
		a.log.Error("the rules about calls cannot be used: each call needs approval", "error", err)
	}
	at.Permissions = &judging
	if !resting {
		if err != nil {
			return nil, usage("the rules about calls: %w", err)
		}
		at.Patience = stores.Forever // a host may be started before its store
		at.Server = true
		idle = 0 // as long as hosts do
	}
	return stores.OpenHost(ctx, at, actors.Config{
		Name: "life", Build: a.build.Version, Models: models, Routes: a.config.routes, Prices: prices, Editors: prices, Log: a.log, Masker: masker, Where: where, OpeningCredit: a.config.credit, Resting: resting, Idle: idle,
		Projections: a.build.Projections, Declare: declared.Parse,
	})
}

// where compiles what life history --where is given.
func where(expression string) (history.EventFilter, error) {
	filter, err := declared.CompileFilter(expression)
	return history.EventFilter(filter), err
}

// reachServe returns the running life serve of the data directory, or why there is none.
func (a *app) reachServe(ctx context.Context) (reached, error) {
	data := a.config.get("data")
	where, err := readServing(data)
	if err != nil {
		return reached{}, err
	}
	token, err := readToken(where.TokenFile)
	if err != nil {
		return reached{}, err
	}
	client, err := api.NewClient(api.ClientConfig{BaseURL: where.Address, Token: token})
	if err != nil {
		return reached{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, healthTime)
	defer cancel()
	health, err := client.Health(ctx)
	if err == nil && (health.PID != where.PID || health.Data != data) {
		err = fmt.Errorf("%s is served by process %d on %s", where.Address, health.PID, health.Data)
	}
	if mine := a.config.storeName(); err == nil && where.Store != mine && where.Store != "" {
		return reached{}, errors.Join(&elsewhere{data: data, pid: where.PID, theirs: where.Store, mine: mine}, client.Close())
	}
	if err != nil {
		return reached{}, errors.Join(fmt.Errorf("ask the life serve at %s: %w", where.Address, err), client.Close())
	}
	if len(health.Members) == 0 {
		return a.behind(client), nil
	}
	if err := client.Close(); err != nil {
		return reached{}, err
	}
	if client, err = api.NewClient(api.ClientConfig{BaseURL: where.Address, Others: health.Members, Token: token}); err != nil {
		return reached{}, err
	}
	return a.behind(client), nil
}

// behind is a host that a client drives.
func (a *app) behind(client *api.Client) reached {
	return reached{fullHost: served{client, a.config.get("data")}, close: func(time.Duration) error { return client.Close() }}
}

// addresses are those of the APIs of a cluster's members but one.
func addresses(view *cluster.View, but events.HostID) []string {
	var list []string
	for _, member := range view.Sorted() {
		if member.ID != but && member.Joined.API != "" {
			list = append(list, member.Joined.API)
		}
	}
	return list
}

// reachMember returns a host of the cluster that a verb is told of, as the cluster's stream names them: the first that answers, and after it the others.
// errNotServing: there is none, or all that there were have ended.
func (a *app) reachMember(ctx context.Context, view *cluster.View) (reached, error) {
	token, err := readToken(a.config.get("token-file"))
	if err != nil {
		return reached{}, err
	}
	members := view.Sorted()
	asking, cancel := context.WithTimeout(ctx, healthTime)
	defer cancel()
	type answer struct {
		member  *cluster.Member
		answers bool
		err     error
	}
	all := make(chan answer, len(members))
	for i := range members {
		go func() {
			answers, err := askMember(asking, view.Name, &members[i], token)
			all <- answer{&members[i], answers, err}
		}()
	}
	var problems []error
	for range members {
		switch got := <-all; {
		case got.answers:
			client, err := api.NewClient(api.ClientConfig{BaseURL: got.member.Joined.API, Others: addresses(view, got.member.ID), Token: token})
			if err != nil {
				return reached{}, err
			}
			return a.behind(client), nil
		case got.err != nil:
			problems = append(problems, got.err)
		}
	}
	if problem := errors.Join(problems...); problem != nil {
		return reached{}, coded("unavailable", "no host of cluster %s can be asked: %w", view.Name, problem)
	}
	return reached{}, errNotServing
}

// askMember reports whether a member answers at the address of its API. It is no error if the member has ended: nothing listens on the port of its API or on that for
// other hosts.
func askMember(ctx context.Context, name string, member *cluster.Member, token string) (answers bool, err error) {
	client, err := api.NewClient(api.ClientConfig{BaseURL: member.Joined.API, Token: token})
	if err != nil {
		return false, fmt.Errorf("host %s: %w", member.ID, err)
	}
	health, err := client.Health(ctx)
	if err = errors.Join(err, client.Close()); err == nil {
		if health.Cluster == name && health.Host == member.ID {
			return true, nil
		}
		err = errors.New("another program answers there")
	}
	dialer := net.Dialer{}
	conn, gone := dialer.DialContext(ctx, "tcp", member.Joined.Peer)
	if gone == nil {
		_ = conn.Close() //nolint:errcheck // nothing was said on it
	}
	if errors.Is(gone, syscall.ECONNREFUSED) {
		return false, nil
	}
	return false, fmt.Errorf("host %s lives, but its API at %s gives this program no answer (name its token with --token-file, or use --data on its machine): %w",
		member.ID, member.Joined.API, err)
}

// reachCluster returns a host of the cluster that the settings name, from its stream in the store. errNotServing: there is none.
func (a *app) reachCluster(ctx context.Context) (found reached, err error) {
	if a.config.get("cluster") == "" || a.config.place().Embedded() {
		return reached{}, errNotServing
	}
	err = a.sharedStore(ctx, func(journal stores.Journal, name string) error {
		view, err := membership.Read(ctx, journal, name)
		if err == nil {
			found, err = a.reachMember(ctx, view)
		}
		return err
	})
	return found, err
}

// noteHostSettings names the flags that have no effect, because they belong to the life serve that was reached.
func (a *app) noteHostSettings() {
	for _, e := range a.config.values {
		if e.host && strings.HasPrefix(e.source, "flag") {
			fmt.Fprintf(a.errs, "life: --%s has no effect here: it is a setting of the running life serve; restart life serve with it\n", e.flag)
		}
	}
}

// elsewhere says that the life serve of a data directory stores events in another place than the verb is told to.
type elsewhere struct {
	data         string
	pid          int
	theirs, mine string
}

// Error names both places and the remedy.
func (e *elsewhere) Error() string {
	return fmt.Sprintf("the life serve on %s, process %d, stores its events in %s, but the setting store is %s: use the same store, or another --data", e.data, e.pid, e.theirs, e.mine)
}

// readToken reads the token that life serve asks for; without a file there is none.
func readToken(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	return stores.ReadSecret("the token", path)
}
