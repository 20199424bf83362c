package cmd

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"example.com/life/actors"
	"example.com/life/actors/membership"
	"example.com/life/actors/storage"
	"example.com/life/cmd/stores"
	"example.com/life/events"
	"example.com/life/sagas/cluster"
)

// clusterStatus is what a host of the cluster says of all of them; if none can be asked, what the cluster's stream says.
func (a *app) clusterStatus(ctx context.Context, view *cluster.View, stream events.Stream) (actors.ClusterStatus, error) {
	host, err := a.reachMember(ctx, view)
	if err != nil {
		return actors.NewClusterStatus(view), err
	}
	status, err := host.Cluster(ctx, stream)
	if err = errors.Join(err, host.close(closeTime)); err != nil {
		return actors.NewClusterStatus(view), err
	}
	return status, nil
}

// printCluster prints the cluster.
func (a *app) printCluster(ctx context.Context, view *cluster.View, asJSON bool) error {
	status, err := a.clusterStatus(ctx, view, "")
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		fmt.Fprintf(a.errs, "life: no host was asked (%v): this is what the cluster's stream says\n", err)
	}
	return a.showCluster(&status, asJSON)
}

func (a *app) showCluster(status *actors.ClusterStatus, asJSON bool) error {
	if asJSON {
		return a.printJSON(status)
	}
	return writeCluster(a.out, status)
}

// watchCluster prints the cluster whenever something changed that a person wants to know: in place on a terminal, else below what was printed before.
func (a *app) watchCluster(ctx context.Context, asJSON bool) error {
	return a.sharedStore(ctx, func(journal stores.Journal, name string) error {
		tick := time.NewTicker(watchTime)
		defer tick.Stop()
		before, asked := "", ""
		for {
			view, err := membership.Read(ctx, journal, name)
			if err != nil {
				return err
			}
			status, err := a.clusterStatus(ctx, view, "")
			if ctx.Err() != nil {
				return ctx.Err()
			}
			now, problem := changing(&status), ""
			if err != nil {
				problem = err.Error()
			}
			if now != before || problem != asked {
				before, asked = now, problem
				if !asJSON {
					a.clearScreen()
				}
				if problem != "" {
					fmt.Fprintf(a.errs, "life: no host was asked (%s): this is what the cluster's stream says\n", problem)
				}
				if err := a.showCluster(&status, asJSON); err != nil {
					return err
				}
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-tick.C:
			}
		}
	})
}

// changing is what of a cluster is worth another look: not what its clocks say, who was asked, or what is counted.
func changing(status *actors.ClusterStatus) string {
	still := *status
	still.Host, still.Hosts = "", slices.Clone(status.Hosts)
	for i := range still.Hosts {
		h := &still.Hosts[i]
		if h.Skew = nil; h.Says != nil {
			says := *h.Says
			says.Lag, says.Wall, says.Storeless, says.Counts = 0, 0, min(says.Storeless, 1), actors.ClusterCounts{}
			h.Says = &says
		}
	}
	text, err := events.PlainJSON(still)
	return string(text) + fmt.Sprint(err)
}

// writeCluster writes a table of the hosts, and a line for each thing that is not as it is to be.
func writeCluster(out io.Writer, status *actors.ClusterStatus) error {
	w := table(out)
	labelled := slices.ContainsFunc(status.Hosts, func(h actors.ClusterHost) bool { return len(h.Labels) > 0 })
	heading := "HOST\tSTATE\tZONE\tWEIGHT\tENTITIES\tLAG\tSKEW\tBUILD\tPEERS AT\tAPI"
	if labelled {
		heading += "\tLABELS"
	}
	fmt.Fprintln(w, heading)
	for i := range status.Hosts {
		h := &status.Hosts[i]
		entities, lag, skew := "-", "-", "-"
		if h.Says != nil {
			entities, lag = fmt.Sprint(h.Says.Entities), milliseconds(h.Says.Lag)
		}
		if h.Skew != nil {
			skew = milliseconds(*h.Skew)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\t%s\t%s\t%s\t%s\t%s", h.ID, h.State, h.Zone, h.Weight, entities, lag, skew, h.Build, h.Peer, h.API)
		if labelled {
			fmt.Fprintf(w, "\t%s", cmp.Or(joinLabels(h.Labels), "-"))
		}
		fmt.Fprintln(w)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for i := range status.Hosts {
		writeTroubles(seen(out), status, &status.Hosts[i])
	}
	for _, key := range slices.Sorted(maps.Keys(status.Pins)) {
		fmt.Fprintf(out, "%s is pinned to %s\n", key, joinLabels(status.Pins[key]))
	}
	if status.Mixed {
		builds := map[string][]string{}
		for i := range status.Hosts {
			h := &status.Hosts[i]
			builds[h.Build] = append(builds[h.Build], string(h.ID))
		}
		var texts []string
		for _, build := range slices.Sorted(maps.Keys(builds)) {
			texts = append(texts, fmt.Sprintf("build %s on %s", build, strings.Join(builds[build], ", ")))
		}
		fmt.Fprintf(out, "mixed: %s\n", strings.Join(texts, "; "))
	}
	return nil
}

// writeTroubles says what of a host a person may want to do something about.
func writeTroubles(out io.Writer, status *actors.ClusterStatus, h *actors.ClusterHost) {
	if h.Problem != "" {
		fmt.Fprintf(out, "%s gave no answer to %s: %s\n", h.ID, status.Host, h.Problem)
	}
	if h.Skew != nil && max(*h.Skew, -*h.Skew) > events.Second {
		fmt.Fprintf(out, "the clock of %s differs from that of %s by %s: set both by NTP\n", h.ID, status.Host, milliseconds(*h.Skew))
	}
	if h.Says == nil {
		return
	}
	if h.Says.Storeless > 0 {
		fmt.Fprintf(out, "%s has had no answer from the store for %s\n", h.ID, milliseconds(h.Says.Storeless))
	}
	for _, m := range h.Says.Handovers {
		fmt.Fprintf(out, "%s holds %s until it can go to %s: %s\n", h.ID, m.Stream, cmp.Or(string(m.To), "a host (none may hold it)"), m.Because)
	}
	for _, e := range h.Says.Ineligible {
		if e.Holder == "" {
			fmt.Fprintf(out, "%s has no host: %s\n", e.Stream, e.Because)
		} else {
			fmt.Fprintf(out, "%s is on %s instead of %s: %s\n", e.Stream, e.Holder, h.ID, e.Because)
		}
	}
	if h.Says.More > 0 {
		fmt.Fprintf(out, "%s has %d more of these; life cluster where AGENT says it of one\n", h.ID, h.Says.More)
	}
}

func milliseconds(of events.Micros) string {
	return (time.Duration(of) * time.Microsecond).Round(time.Millisecond).String()
}

func clusterHistoryCommand(a *app) *cobra.Command {
	from, to, limit, asJSON := "", "", 0, false
	cmd := &cobra.Command{
		Use: "history", Short: "Print who joined, drained, left or was removed, and what was pinned", Args: takes(0, 0, "no arguments"),
		Long: "Print the events of the cluster's stream, one line for each: who joined, was asked to drain, left or was removed, by whom and why, and\n" +
			"what was pinned. Of a long history only the latest part is shown, unless --from, --to, --limit or --json is given.",
		Example: "  life cluster history\n  life cluster history --limit 5\n  life cluster history --json | jq .kind",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 0 {
				return usage("--limit is %d: it must be a number of events; 0 means all", limit)
			}
			first, err := parseMoment("from", from)
			if err != nil {
				return err
			}
			last, err := parseMoment("to", to)
			if err != nil {
				return err
			}
			if first.Form == events.MomentTurn || last.Form == events.MomentTurn {
				return usage("a cluster has no turns: write a revision (31) or a time (2026-11-26, 14:02)")
			}
			tail := limit
			if !cmd.Flags().Changed("limit") && !asJSON && from == "" && to == "" {
				tail = shownEvents
			}
			return a.sharedStore(cmd.Context(), func(journal stores.Journal, name string) error {
				list, err := readCluster(cmd.Context(), journal, name, first, last)
				if err != nil {
					return err
				}
				if len(list) == 0 {
					return coded("not_found", "there is nothing of cluster %s in %s at these times", name, a.config.storeName())
				}
				left := max(0, len(list)-tail)
				if tail == 0 {
					left = 0
				}
				printer := a.eventPrinter(asJSON)
				for i := range list[left:] {
					if err := printer.print(&list[left+i]); err != nil {
						return err
					}
				}
				if left > 0 && limit == 0 {
					fmt.Fprintf(a.errs, "life: these are the latest %d events; --limit 0 shows all, --from and --to select a part\n", tail)
				}
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&from, "from", "", "moment to start at: revision (31) or time (2026-11-26, 14:02)")
	cmd.Flags().StringVar(&to, "to", "", "moment to end at")
	cmd.Flags().IntVar(&limit, "limit", 0, "at most this many events, the latest ones; 0: all")
	jsonFlag(cmd, &asJSON)
	return cmd
}

// readCluster reads the events of a cluster's stream between two moments, both included.
func readCluster(ctx context.Context, journal storage.Journal, name string, first, last events.Moment) ([]events.Envelope, error) {
	var list []events.Envelope
	for from := events.Revision(0); ; {
		page, err := journal.Read(ctx, events.ClusterStream(name), from, storage.Forward, storage.Limit{})
		if err != nil {
			return nil, err
		}
		for i := range page.Events {
			e := &page.Events[i]
			from = e.Revision + 1
			early := first.Form == events.MomentRevision && e.Revision < first.Revision || first.Form == events.MomentTime && e.Time < first.Begin
			late := last.Form == events.MomentRevision && e.Revision > last.Revision || last.Form == events.MomentTime && e.Time >= last.End
			if !early && !late {
				list = append(list, *e)
			}
		}
		if page.End {
			return list, nil
		}
	}
}

// placement is what a verb's arguments mean.
type placement struct{ stream string }

func (p *placement) flag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&p.stream, "stream", "", "a stream, such as wallet-main, instead of an agent's name")
}

// take splits the arguments of a verb into what it is about and the rest.
func (p *placement) take(args []string, rest int) (name string, others []string, err error) {
	if p.stream != "" {
		if len(args) < rest {
			return "", nil, usage("it takes --stream STREAM, or the name of an agent")
		}
		return "", args, nil
	}
	if len(args) <= rest {
		return "", nil, usage("it takes the name of an agent, or --stream STREAM")
	}
	return args[0], args[1:], nil
}

// find is the stream: that of the agent of a name; or, if there is no such agent and the name is that of a stream, that one.
func (p *placement) find(ctx context.Context, a *app, journal storage.Journal, name string) (events.Stream, error) {
	stream := events.Stream(p.stream)
	if stream == "" {
		if stream = events.AgentStream(events.AgentID(name)); !placeable(events.Stream(name)) {
			_, err := checkAgent(name)
			return stream, err
		}
		page, err := journal.Read(ctx, stream, 0, storage.Forward, storage.Limit{Events: 1})
		if err != nil || page.Last != events.NoRevision {
			return stream, err
		}
		fmt.Fprintf(a.errs, "life: there is no agent %s, so this is about the stream of that name; --stream %s says so\n", name, name)
		return events.Stream(name), nil
	}
	if !placeable(stream) {
		return "", usage("--stream is %q: it must be that of an agent, a wallet, or of a tenant's rules, knowledge or projections, such as wallet-main", events.Clip(p.stream, 100))
	}
	return stream, nil
}

// placeable reports whether a stream lives on one host of a cluster.
func placeable(stream events.Stream) bool {
	category, id := stream.Split()
	switch category {
	case events.AgentCategory, events.WalletCategory, events.HomeostasisCategory, events.KnowledgeCategory, events.ProjectionsCategory:
		return events.AgentID(id).Validate() == nil
	}
	return false
}

func clusterWhereCommand(a *app) *cobra.Command {
	asJSON, of := false, placement{}
	cmd := &cobra.Command{
		Use: "where AGENT", Short: "Show which host an agent lives on, and which hosts come next", Args: takes(0, 1, "the name of an agent, or --stream STREAM"),
		Long: "Show which host an agent lives on, and which hosts come next if that one ends; and whether it is on another host than it belongs to,\n" +
			"and why. A wallet named as its agent lives with it. --stream is for what is no agent.",
		Example: "  life cluster where demo\n  life cluster where --stream wallet-main --json",
		RunE: func(cmd *cobra.Command, args []string) error {
			name, _, err := of.take(args, 0)
			if err != nil {
				return err
			}
			return a.sharedCluster(cmd.Context(), func(journal stores.Journal, view *cluster.View) error {
				stream, err := of.find(cmd.Context(), a, journal, name)
				if err != nil {
					return err
				}
				return a.printWhere(cmd.Context(), view, stream, asJSON)
			})
		},
	}
	of.flag(cmd)
	jsonFlag(cmd, &asJSON)
	return cmd
}

// whereShown is where an entity lives, as it is printed.
type whereShown struct {
	Stream  events.Stream   `json:"stream"`
	Hosts   []events.HostID `json:"hosts"`            // its own first
	Holder  events.HostID   `json:"holder,omitempty"` // if it is on another host than the first
	Because string          `json:"because,omitempty"`
}

func (a *app) printWhere(ctx context.Context, view *cluster.View, stream events.Stream, asJSON bool) error {
	shown := whereShown{Stream: stream, Hosts: append([]events.HostID{}, view.Ranked(stream)...)}
	status, err := a.clusterStatus(ctx, view, stream)
	if err != nil {
		fmt.Fprintf(a.errs, "life: no host was asked (%v): this is where it belongs\n", err)
	}
	for i := range status.Hosts {
		h := &status.Hosts[i]
		if h.Says == nil {
			continue
		}
		for _, e := range h.Says.Ineligible {
			shown.Holder, shown.Because = e.Holder, e.Because
		}
		for _, m := range h.Says.Handovers {
			shown.Holder, shown.Because = h.ID, "it goes to "+cmp.Or(string(m.To), "no host")+" when it can: "+m.Because
		}
	}
	if asJSON {
		return a.printJSON(shown)
	}
	if len(shown.Hosts) == 0 && shown.Holder == "" {
		return coded("unavailable", "no host of cluster %s may hold %s: life cluster shows pins and weights", view.Name, stream)
	}
	var text bytes.Buffer
	w := table(&text)
	for i, id := range shown.Hosts {
		switch {
		case id == shown.Holder:
			fmt.Fprintf(w, "%s\tholds it\n", id)
		case i == 0 && shown.Because != "":
			fmt.Fprintf(w, "%s\tdoes not hold it\n", id)
		default:
			fmt.Fprintln(w, id)
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if shown.Holder != "" && !slices.Contains(shown.Hosts, shown.Holder) {
		fmt.Fprintf(&text, "%s holds it\n", shown.Holder)
	}
	if shown.Because != "" {
		fmt.Fprintln(&text, shown.Because)
	}
	_, err = text.WriteTo(a.out)
	return err
}
