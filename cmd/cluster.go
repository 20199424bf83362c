package cmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"example.com/life/actors/membership"
	"example.com/life/adapters/peers"
	"example.com/life/cmd/stores"
	"example.com/life/events"
	"example.com/life/sagas"
	"example.com/life/sagas/cluster"
)

// addClusterFlags adds the settings that are life serve's alone, as flags.
func addClusterFlags(cmd *cobra.Command) {
	for _, s := range settings() {
		switch {
		case !s.serve:
		case s.list:
			cmd.Flags().StringSlice(s.flag, nil, s.help())
		case s.defaultValue == "false":
			cmd.Flags().Bool(s.flag, false, s.help())
		default:
			cmd.Flags().String(s.flag, "", s.help())
		}
	}
}

// cluster is the cluster to join; nil: none. api is where this host's API listens.
func (c *config) cluster(api net.Addr) (*stores.Cluster, error) {
	name, peer, certificates := c.get("cluster"), c.get("peer"), c.get("peer-certs")
	if name == "" {
		if peer != "" || certificates != "" {
			return nil, usage("--peer and --peer-certs are for a host of a cluster: name it with --cluster")
		}
		return nil, nil //nolint:nilnil // the host is the only one
	}
	if err := events.ValidateCluster(name); err != nil {
		return nil, usage("--cluster: %w", err)
	}
	called := cmp.Or(c.get("peer-name"), hostname())
	switch {
	case peer == "":
		return nil, usage("--cluster needs --peer HOST:PORT, the address on which this host answers the others")
	case certificates == "":
		return nil, usage("--cluster needs --peer-certs DIR, with certificates that life cluster certificates DIR --host %s makes: hosts prove to each other who they are", called)
	}
	if err := events.ValidateHost(called); err != nil {
		return nil, usage("--peer-name: %w", err)
	}
	if err := reachablePeer(peer); err != nil {
		return nil, usage("%w", err)
	}
	joins := &stores.Cluster{
		Name: name, Listen: peer, Certificates: certificates,
		Joined: events.HostJoined{Name: called, API: "http://" + advertised(api, peer), Zone: c.get("zone")},
	}
	return joins, c.readJoin(joins)
}

// readJoin reads the settings that are no texts.
func (c *config) readJoin(joins *stores.Cluster) error {
	labels, err := readLabels(list(c.get("label")))
	if err != nil {
		return usage("label (%s): %w", c.find("label").source, err)
	}
	joins.Joined.Labels = labels
	if joins.Joined.Roles, err = readRoles(list(c.get("roles"))); err != nil {
		return usage("roles (%s): %w", c.find("roles").source, err)
	}
	for _, path := range list(c.get("shared-workspaces")) {
		if !filepath.IsAbs(path) {
			return usage("%w", c.find("shared-workspaces").wrong("must be a list of absolute paths"))
		}
		joins.Workspaces = append(joins.Workspaces, path)
	}
	for flag, into := range map[string]*int{"weight": &joins.Joined.Weight, "max-live": &joins.MaxLive} {
		if *into, err = strconv.Atoi(c.get(flag)); err != nil || *into < 0 || *into > 1<<20 {
			return usage("%w", c.find(flag).wrong("must be a number from 0 to 1048576"))
		}
	}
	var silent, fence time.Duration
	for flag, into := range map[string]*time.Duration{"silent": &silent, "fence": &fence, "handover": &joins.Handover} {
		if *into, err = time.ParseDuration(c.get(flag)); err != nil || *into <= 0 {
			return usage("%w", c.find(flag).wrong("must be a duration such as 500ms or 30s"))
		}
	}
	joins.Joined.Silent, joins.Joined.Fence = events.Micros(silent.Microseconds()), events.Micros(fence.Microseconds())
	if joins.Older, err = strconv.ParseBool(c.get("join-older")); err != nil {
		return usage("%w", c.find("join-older").wrong("must be true or false"))
	}
	return nil
}

func list(text string) (all []string) {
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part != "" {
			all = append(all, part)
		}
	}
	return all
}

// hostname is the machine's name, without its domain.
func hostname() string {
	host, _ := os.Hostname() //nolint:errcheck // then it has to be given
	host, _, _ = strings.Cut(strings.ToLower(host), ".")
	return host
}

// reachablePeer refuses an address that others cannot connect to, whatever the network is.
func reachablePeer(peer string) error {
	host, port, err := net.SplitHostPort(peer)
	if err != nil || port == "" {
		return fmt.Errorf("--peer is %q, want HOST:PORT such as books-1.example:4778", peer)
	}
	ip := net.ParseIP(host)
	switch {
	case host == "" || ip != nil && ip.IsUnspecified():
		return fmt.Errorf("--peer is %s, which other hosts cannot connect to: give the address or the name by which they reach this machine, such as books-1.example:%s", peer, port)
	case ip != nil && ip.IsMulticast():
		return fmt.Errorf("--peer is %s, which is the address of no machine: give the one by which other hosts reach this one", peer)
	}
	return nil
}

// withPeer are names that requests may be addressed to: programs that find this host through its cluster know it by its address among its peers.
func (c *config) withPeer(names []string) []string {
	if host, _, err := net.SplitHostPort(c.get("peer")); err == nil && c.get("cluster") != "" {
		return append(names, host)
	}
	return names
}

// readRoles checks what a host is to do; none: nothing but to hold agents.
func readRoles(names []string) ([]string, error) {
	if slices.Equal(names, []string{"none"}) {
		return nil, nil
	}
	for _, name := range names {
		if name != cluster.RoleProjections {
			return nil, fmt.Errorf("%q is no role, want %s (keep projections, where not every host does) or none", name, cluster.RoleProjections)
		}
	}
	return []string{cluster.RoleProjections}, nil
}

func readLabels(texts []string) ([]events.Label, error) {
	var labels []events.Label
	for _, text := range texts {
		name, value, found := strings.Cut(text, "=")
		if !found || name == "" || value == "" {
			return nil, fmt.Errorf("%q is no label, want NAME=VALUE such as zone=eu", text)
		}
		labels = append(labels, events.Label{Name: name, Value: value})
	}
	return labels, nil
}

// errRemoved says that the others hold this host for dead.
var errRemoved = errors.New("this host was removed from its cluster")

// askedToEnd says when the cluster wants the host to end: with errRemoved at once; with nil after it has handed over what it holds.
func (a *app) askedToEnd(ctx context.Context, host *stores.Local) <-chan error {
	member := host.Member()
	if member == nil {
		return nil
	}
	asked := make(chan error, 1)
	go func() {
		for {
			changed := member.Changed()
			if me, is := member.View().Members[member.Self()]; is && me.State == cluster.StateDraining {
				fmt.Fprintln(a.errs, "life: this host was asked to leave the cluster")
				asked <- nil
				return
			}
			select {
			case <-member.Removed():
				asked <- errRemoved
				return
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}()
	return asked
}

// handOver has the other hosts of the cluster go on with what this one holds. What is still here when ctx ends goes on there too, as if this
// host had been killed.
func (a *app) handOver(ctx context.Context, host *stores.Local) error {
	member := host.Member()
	if member == nil {
		return nil
	}
	drained := make(chan error, 1)
	go func() { drained <- host.Drain(ctx) }()
	select {
	case err := <-drained:
		if err != nil {
			fmt.Fprintf(a.errs, "life: %v\n", err)
		}
		return nil
	case <-member.Removed():
		return errRemoved
	}
}

// startedAnewEvery is how often a host that is removed again and again joins again.
const startedAnewEvery = 10 * time.Second

// startAnew replaces this process by a new one, which joins the cluster under a new id: whatever this one still held in memory is void.
func (a *app) startAnew(ctx context.Context, began time.Time) error {
	select {
	case <-time.After(startedAnewEvery - time.Since(began)):
	case <-ctx.Done():
		return nil
	}
	self, err := os.Executable()
	if err != nil {
		return errors.Join(errRemoved, err)
	}
	fmt.Fprintln(a.errs, "life: removed from the cluster; starting again as a new member")
	return fmt.Errorf("start again after %w: %w", errRemoved, syscall.Exec(self, os.Args, os.Environ())) //nolint:gosec // it is this program, as it was started
}

func clusterCommand(a *app) *cobra.Command {
	asJSON, watch := false, false
	cmd := &cobra.Command{
		Use: "cluster", Short: "Show and change the hosts of a cluster", Args: noVerb,
		Long: "Show the hosts that share a store, and change them. A host of the cluster is asked, which asks all others; if none answers, what the\n" +
			"cluster's stream says is shown. docs/cluster.md describes clusters.",
		Example: "  life cluster --cluster main\n  life cluster --json\n  life cluster --watch\n  life cluster certificates certs --host books-1",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if watch {
				return a.watchCluster(cmd.Context(), asJSON)
			}
			return a.withCluster(cmd.Context(), func(view *cluster.View) error { return a.printCluster(cmd.Context(), view, asJSON) })
		},
	}
	jsonFlag(cmd, &asJSON)
	cmd.Flags().BoolVar(&watch, "watch", false, "show them again whenever something changed, until interrupted")
	cmd.AddCommand(
		clusterWhereCommand(a), clusterHistoryCommand(a), clusterDrainCommand(a), clusterRemoveCommand(a), clusterPinCommand(a), clusterUnpinCommand(a),
		storeless(aboutNone, clusterCertificatesCommand(a)),
	)
	return cmd
}

// sharedStore opens the store of a cluster, as a program that is no member.
func (a *app) sharedStore(ctx context.Context, use func(journal stores.Journal, name string) error) error {
	at := a.place()
	if at.Embedded() {
		return usage("a cluster's store is an EventStoreDB: name it with --store esdb://HOST:PORT or LIFE_STORE")
	}
	journal, err := at.Open(ctx, a.log)
	if err != nil {
		return err
	}
	name := a.config.get("cluster")
	if err = events.ValidateCluster(name); err != nil {
		err = usage("name the cluster with --cluster or LIFE_CLUSTER: %w", err)
	} else {
		err = use(journal, name)
	}
	return errors.Join(err, journal.Close())
}

func (a *app) withCluster(ctx context.Context, use func(*cluster.View) error) error {
	return a.sharedCluster(ctx, func(_ stores.Journal, view *cluster.View) error { return use(view) })
}

func (a *app) sharedCluster(ctx context.Context, use func(stores.Journal, *cluster.View) error) error {
	return a.sharedStore(ctx, func(journal stores.Journal, name string) error {
		view, err := membership.Read(ctx, journal, name)
		if err != nil {
			return err
		}
		if view.Epoch == events.NoRevision {
			return coded("not_found", "there is no cluster %s in %s: life serve --cluster %s makes it", name, a.config.storeName(), name)
		}
		return use(journal, view)
	})
}

// order has the cluster decide a command.
func (a *app) order(ctx context.Context, command func(journal stores.Journal, view *cluster.View) (sagas.Command, error)) error {
	return a.sharedStore(ctx, func(journal stores.Journal, name string) error {
		view, err := membership.Read(ctx, journal, name)
		if err != nil {
			return err
		}
		wanted, err := command(journal, view)
		if err == nil {
			_, err = membership.Order(ctx, journal, name, membership.SystemClock{}, wanted)
		}
		return err
	})
}

func joinLabels(labels []events.Label) string {
	texts := make([]string, len(labels))
	for i, l := range labels {
		texts[i] = l.String()
	}
	return strings.Join(texts, ",")
}

// hostOf is the member that an argument means: its id, or its name.
func hostOf(view *cluster.View, text string) events.HostID {
	if member, there := view.Named(text); there {
		return member.ID
	}
	return events.HostID(text)
}

func clusterDrainCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "drain HOST", Short: "Have a host hand over its agents and end", Args: takes(1, 1, "the name or id of a host"),
		Long: "Have a host hand over its agents and end. Each agent moves when nothing of it is under way that cannot be repeated, so no call is cut\n" +
			"off and no message refused. SIGTERM to the host does the same.",
		Example: "  life cluster drain books-1",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.order(cmd.Context(), func(_ stores.Journal, view *cluster.View) (sagas.Command, error) {
				return cluster.Drain{Meta: newMeta(""), Host: hostOf(view, args[0]), By: a.person()}, nil
			})
		},
	}
}

func clusterRemoveCommand(a *app) *cobra.Command {
	reason := ""
	cmd := &cobra.Command{
		Use: "remove HOST", Short: "Remove a host that is dead, though the others have not noticed", Args: takes(1, 1, "the name or id of a host"),
		Long: "Remove a host that is dead, though the others have not noticed: they take over its agents at once. A host that is alive notices that\n" +
			"it was removed, cuts everything off and joins again.",
		Example: "  life cluster remove books-1 --reason \"its machine burnt down\"",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.order(cmd.Context(), func(_ stores.Journal, view *cluster.View) (sagas.Command, error) {
				return cluster.Remove{Meta: newMeta(""), Host: hostOf(view, args[0]), By: a.person(), Because: events.RemovedAsked, Detail: reason}, nil
			})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the record")
	return cmd
}

func clusterPinCommand(a *app) *cobra.Command {
	of := placement{}
	cmd := &cobra.Command{
		Use: "pin AGENT NAME=VALUE...", Short: "Let an agent live only on hosts with these labels", Args: takes(1, -1, "an agent, and labels such as zone=eu or host=books-1"),
		Long:    "Let an agent live only on hosts that have all of these labels. host=NAME and zone=NAME are a host's name and zone.",
		Example: "  life cluster pin demo zone=eu\n  life cluster pin demo host=books-1\n  life cluster pin --stream wallet-main zone=eu",
		RunE: func(cmd *cobra.Command, args []string) error {
			name, texts, err := of.take(args, 1)
			if err != nil {
				return err
			}
			labels, err := readLabels(texts)
			if err != nil {
				return usage("%w", err)
			}
			return a.order(cmd.Context(), func(journal stores.Journal, _ *cluster.View) (sagas.Command, error) {
				stream, err := of.find(cmd.Context(), a, journal, name)
				return cluster.Pin{Meta: newMeta(""), Stream: stream, To: labels, By: a.person()}, err
			})
		},
	}
	of.flag(cmd)
	return cmd
}

func clusterUnpinCommand(a *app) *cobra.Command {
	of := placement{}
	cmd := &cobra.Command{
		Use: "unpin AGENT", Short: "Let an agent live on any host again", Args: takes(0, 1, "the name of an agent, or --stream STREAM"),
		Example: "  life cluster unpin demo",
		RunE: func(cmd *cobra.Command, args []string) error {
			name, _, err := of.take(args, 0)
			if err != nil {
				return err
			}
			return a.order(cmd.Context(), func(journal stores.Journal, _ *cluster.View) (sagas.Command, error) {
				stream, err := of.find(cmd.Context(), a, journal, name)
				return cluster.Unpin{Meta: newMeta(""), Stream: stream, By: a.person()}, err
			})
		},
	}
	of.flag(cmd)
	return cmd
}

func clusterCertificatesCommand(a *app) *cobra.Command {
	var hosts, addresses []string
	cmd := &cobra.Command{
		Use: "certificates DIR", Short: "Make the certificates by which hosts know each other", Args: takes(1, 1, "a directory"),
		Long: "Make the certificates by which hosts know each other: an authority, if the directory has none yet, and one certificate for each host.\n" +
			"A host needs ca.pem, NAME.pem and NAME-key.pem. Whoever has a host's key can command every agent of the cluster; keep ca-key.pem\n" +
			"where no host can read it.",
		Example: "  life cluster certificates certs --host books-1 --host books-2",
		RunE: func(_ *cobra.Command, args []string) error {
			if len(hosts) == 0 {
				return usage("name the hosts: --host NAME, for each of them")
			}
			for _, host := range hosts {
				made, err := peers.MakeCertificate(args[0], peers.Wanted{Host: host, Addresses: addresses, Now: time.Now()})
				if err != nil {
					return err
				}
				for _, file := range made.Files {
					fmt.Fprintln(a.out, file)
				}
			}
			fmt.Fprintln(a.errs, "life: whoever has the key of a host can command every agent of the cluster")
			return nil
		},
	}
	cmd.Flags().StringSliceVar(&hosts, "host", nil, "name of a host; may be repeated")
	cmd.Flags().StringSliceVar(&addresses, "address", nil, "address or DNS name of the host, for other programs; hosts know each other by name")
	return cmd
}
