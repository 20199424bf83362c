package cmd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"example.com/life/adapters/api"
	"example.com/life/adapters/embedded"
	"example.com/life/cmd/stores"
)

func serveCommand(a *app) *cobra.Command {
	var names []string
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Host agents and serve the HTTP API, until interrupted",
		Long: "Host the agents of the data directory and serve the HTTP API, until SIGTERM or Ctrl-C. A second signal does not wait for running\n" +
			"calls that cannot be repeated; they count as lost. Agents with unfinished work continue it. Other commands on the same data\n" +
			"directory find the server by themselves. docs/api.md describes the API.\n\n" +
			"With --cluster the host is one of several on one store: each agent lives on one of them, and any of them answers for all. SIGTERM\n" +
			"then hands its agents over first. docs/cluster.md describes clusters.",
		Example: "  life serve\n  life serve --listen 127.0.0.1:0\n  life serve --listen 0.0.0.0:4777 --token-file ~/.life-token --name agents.example\n" +
			"  life serve --store esdb://db.example:2113 --cluster main --peer books-1.example:4778 --peer-name books-1 --peer-certs certs",
		Args: takes(0, 0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.serve(cmd.Context(), names)
		},
	}
	addClusterFlags(cmd)
	cmd.Flags().StringSliceVar(&names, "name", nil, "host names, in addition to localhost, that clients may use for the server")
	return cmd
}

// guardedAddress refuses to listen to other machines without a token: whoever reaches the API can run commands.
func (a *app) guardedAddress() (address, token string, err error) {
	address = a.config.get("listen")
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return "", "", usage("listen is %q, want host:port such as 127.0.0.1:4777", address)
	}
	if token, err = readToken(a.config.get("token-file")); err != nil {
		return "", "", err
	}
	ip := net.ParseIP(host)
	if loopback := host == "localhost" || ip != nil && ip.IsLoopback(); !loopback && token == "" {
		return "", "", usage("listening on %s lets other machines run commands here: name a file with a token (--token-file), or listen on 127.0.0.1", address)
	}
	return address, token, nil
}

func (a *app) serve(ctx context.Context, names []string) error {
	began := time.Now()
	address, token, err := a.guardedAddress()
	if err != nil {
		return err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("%w; --listen chooses another address, and port 0 any free one", err)
	}
	defer listener.Close() //nolint:errcheck // the server closes it too, and reports
	files, err := openFiles("serve")
	if err != nil {
		return err
	}
	bounded := api.Bound(listener, files, a.log)
	if err := a.onlyServer(ctx); err != nil {
		return err
	}
	joining, err := a.config.cluster(listener.Addr())
	if err != nil {
		return err
	}
	host, err := a.openAfter(ctx, joining)
	if err != nil {
		return err
	}
	handler, err := api.New(api.Config{
		Host: host, Log: a.log, Hosts: a.config.withPeer(names), Token: token, Feeds: bounded.Feeds(),
		Health: a.health(host), Members: otherMembers(host),
	})
	if err == nil {
		err = a.answerAndCarryOut(ctx, host, bounded, handler)
	}
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
	defer cancel()
	if err := errors.Join(err, host.Close(closing)); !errors.Is(err, errRemoved) {
		return err
	}
	return a.startAnew(ctx, began)
}

// health says which server this is.
func (a *app) health(host *stores.Local) api.Health {
	health := api.Health{Name: "life", Version: a.build.Version, PID: os.Getpid(), Data: a.config.get("data")}
	if member := host.Member(); member != nil {
		health.Cluster, health.Host = member.View().Name, member.Self()
	}
	return health
}

// otherMembers lists the addresses of the APIs of the cluster's other hosts; nil without a cluster.
func otherMembers(host *stores.Local) func() []string {
	member := host.Member()
	if member == nil {
		return nil
	}
	return func() []string { return addresses(member.View(), member.Self()) }
}

// leastFiles is how many files a server has to be able to open: it has some thirty open itself.
const leastFiles = 64

// openFiles is how many files this process may have open.
func openFiles(verb string) (int, error) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0, fmt.Errorf("read the limit of open files: %w", err)
	}
	if limit.Cur < leastFiles {
		return 0, coded("limit", "this process may have %d files open, life %s needs at least %d: raise the limit, as with ulimit -n 4096", limit.Cur, verb, leastFiles)
	}
	return int(min(limit.Cur, 1<<20)), nil //nolint:gosec // it is small
}

// answerAndCarryOut serves over HTTP and takes commands from the bus, until ctx ends.
func (a *app) answerAndCarryOut(ctx context.Context, host *stores.Local, listener *api.Connections, handler http.Handler) error {
	stop, err := a.carryOut(ctx, host)
	if err != nil {
		return err
	}
	err = a.answer(ctx, host, listener, handler)
	return errors.Join(err, stop())
}

// onlyServer refuses to serve a data directory that another life serve serves already. The embedded store sees to that itself.
func (a *app) onlyServer(ctx context.Context) error {
	if a.config.place().Embedded() {
		return nil
	}
	data := a.config.get("data")
	other, err := a.reachServe(ctx)
	if differs := new(elsewhere); errors.As(err, &differs) {
		return err
	}
	if err != nil {
		return nil //nolint:nilerr // nobody answers there, so nobody serves
	}
	where, err := readServing(data)
	return errors.Join(coded("held", "%s is in use by process %d, a life serve: another host needs a data directory of its own (--data)", data, where.PID), err, other.close(closeTime))
}

// openAfter opens the stores.
func (a *app) openAfter(ctx context.Context, joining *stores.Cluster) (*stores.Local, error) {
	return whenFree(ctx, a, heldTime, func() (*stores.Local, error) { return a.openLocal(ctx, false, joining) })
}

// heldTime is how long a server waits for another process to leave its data directory: a verb that was started after it, and opened the
// directory before it, ends soon.
const heldTime = 30 * time.Second

// whenFree opens what is in a directory, once no other process holds it. One that was held by a process that was killed is free in a moment:
// a child that it was starting keeps its files open for as long. A server does not leave, so it is not waited for.
func whenFree[T any](ctx context.Context, a *app, patience time.Duration, open func() (T, error)) (T, error) {
	said := false
	for began := time.Now(); ; {
		opened, err := open()
		var held *embedded.HeldError
		if !errors.As(err, &held) || held.Server && !errors.Is(syscall.Kill(held.PID, 0), syscall.ESRCH) {
			return opened, err
		}
		waited := time.Since(began)
		if waited > patience/100 && !said {
			fmt.Fprintf(a.errs, "life: %s is in use by process %d; waiting for it to end, for %s at most\n", held.Dir, held.PID, patience)
			said = true
		}
		if waited > patience {
			return opened, fmt.Errorf("%w (waited %s for it to end)", err, patience)
		}
		select {
		case <-ctx.Done():
			return opened, ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// answer serves until ctx ends, and then closes the host, which ends the feeds, while the last requests are answered.
func (a *app) answer(ctx context.Context, host *stores.Local, listener *api.Connections, handler http.Handler) error {
	data := a.config.get("data")
	server := &http.Server{
		Handler: handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10, ConnContext: listener.Context,
		ErrorLog: slog.NewLogLogger(a.log.Handler(), slog.LevelDebug),
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	here := serving{PID: os.Getpid(), Address: "http://" + reachable(listener.Addr()), TokenFile: a.config.get("token-file"), Store: a.config.storeName()}
	if err := writeServing(data, here); stores.OnlyRead(err) {
		fmt.Fprintf(a.errs, "life: %v: other commands do not find this life serve, but programs reach it over HTTP\n", err)
	} else if err != nil {
		return errors.Join(err, server.Close(), expected(<-served))
	}
	fmt.Fprintf(a.errs, "life: serving %s at %s, process %d, events in %s\n", data, here.Address, here.PID, here.Store)
	if member := host.Member(); member != nil {
		fmt.Fprintf(a.errs, "life: host %s of cluster %s\n", member.Self(), member.View().Name)
	}
	asked := a.askedToEnd(ctx, host)
	var failed error
	select {
	case failed = <-asked:
	case <-ctx.Done():
		fmt.Fprintln(a.errs, "life: stopping once calls that cannot be repeated have finished; interrupt again to stop now. Other work continues when life serve runs again")
	case failed = <-served:
		served <- http.ErrServerClosed
	}
	removed := os.Remove(filepath.Join(data, servingName))
	if errors.Is(removed, fs.ErrNotExist) || stores.OnlyRead(removed) {
		removed = nil // it could not be written
	}
	closing, stop := signal.NotifyContext(context.WithoutCancel(ctx), os.Interrupt, syscall.SIGTERM) // a second one hurries it
	defer stop()
	closing, cancel := context.WithTimeout(closing, closeTime)
	defer cancel()
	if failed == nil {
		failed = a.handOver(closing, host)
	}
	if errors.Is(failed, errRemoved) {
		cancel() // nothing of it may go on
	}
	closed := make(chan error, 1)
	go func() { closed <- host.Host.Close(closing) }()
	if err := server.Shutdown(closing); err != nil {
		failed = errors.Join(failed, server.Close())
	}
	return errors.Join(failed, removed, <-closed, expected(<-served))
}

// expected is nil for the error with which every server ends.
func expected(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// advertised is an address that other machines can connect to: one that listens everywhere is found where the host's peers find it.
func advertised(address net.Addr, peer string) string {
	host, port, err := net.SplitHostPort(address.String())
	if ip := net.ParseIP(host); err == nil && ip != nil && ip.IsUnspecified() {
		if at, _, err := net.SplitHostPort(peer); err == nil {
			return net.JoinHostPort(at, port)
		}
	}
	return reachable(address)
}

// reachable is an address that this machine can connect to.
func reachable(address net.Addr) string {
	host, port, err := net.SplitHostPort(address.String())
	if err != nil {
		return address.String()
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}
