package cluster_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/google/go-cmp/cmp"

	"example.com/life/events"
	"example.com/life/sagas"
	"example.com/life/sagas/cluster"
)

// TestTranscripts runs testdata/*.txt, which are the specification of membership and placement: for each command what is recorded, or why
// not. After an intended change run go test ./sagas/cluster -rewrite and read the difference. Each command is one case of script.run.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("find transcripts: %v, %d files", err, len(files))
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			s := &script{t: t, view: cluster.NewView("books")}
			datadriven.RunTest(t, file, func(t *testing.T, d *datadriven.TestData) string {
				s.t = t
				return s.run(d)
			})
		})
	}
}

const start events.Micros = 1_700_000_000 * events.Second

// script runs the commands of one transcript on one cluster.
type script struct {
	t        *testing.T
	view     *cluster.View
	facts    []sagas.Fact
	commands int
}

func (s *script) run(d *datadriven.TestData) string {
	s.commands++
	meta := sagas.Meta{ID: events.CommandID(fmt.Sprintf("c%d", s.commands)), At: start + events.Micros(s.commands)*events.Second}
	if again := word(d, "again"); again != "" {
		meta.ID = events.CommandID(again)
	}
	host := events.HostID(first(d))
	switch d.Cmd {
	case "join":
		return s.decide(cluster.Join{Meta: meta, Host: s.host(d), Dead: events.HostID(word(d, "dead")), Older: d.HasArg("older")})
	case "drain":
		return s.decide(cluster.Drain{Meta: meta, Host: host, By: word(d, "by")})
	case "leave":
		return s.decide(cluster.Leave{Meta: meta, Host: host})
	case "remove":
		remove := cluster.Remove{Meta: meta, Host: host, By: word(d, "by"), Because: events.RemovalReason(word(d, "because")), Detail: d.Input}
		for _, id := range words(d, "confirmed") {
			remove.Confirmed = append(remove.Confirmed, events.HostID(id))
		}
		return s.decide(remove)
	case "pin":
		return s.decide(cluster.Pin{Meta: meta, Stream: events.Stream(host), To: labels(d, "to"), By: word(d, "by")})
	case "unpin":
		return s.decide(cluster.Unpin{Meta: meta, Stream: events.Stream(host), By: word(d, "by")})
	case "view":
		return show(s.view)
	case "ranked":
		return s.ranked(d)
	case "gone":
		return fmt.Sprintf("%v, its effects may run for %d ms\n", s.view.WentAway(host), s.view.FenceOf(host)/events.Millisecond)
	}
	d.Fatalf(s.t, "there is no command %s", d.Cmd)
	return ""
}

// decide has the view decide, and applies what it decided. It holds every decision to being recalled as the same command.
func (s *script) decide(command sagas.Command) string {
	decided, err := s.view.Decide(command)
	var duplicate *sagas.DuplicateError
	switch {
	case errors.As(err, &duplicate):
		return fmt.Sprintf("the same: %v\n", err)
	case err != nil:
		return fmt.Sprintf("refused %v\n", err)
	}
	before, meta := s.view, command.Metadata()
	var out strings.Builder
	var facts []sagas.Fact
	for _, event := range decided {
		fact := sagas.Fact{Event: event, Revision: s.view.Epoch + 1, Time: meta.At, Command: meta.ID}
		facts = append(facts, fact)
		s.view = s.view.Apply(fact)
		fmt.Fprintf(&out, "%d recorded %s\n", fact.Revision, event)
	}
	s.facts = append(s.facts, facts...)
	recalled, err := before.Recall(facts)
	if err != nil {
		s.t.Fatalf("recall: %v", err)
	}
	again, err := before.Decide(recalled)
	if err != nil || !reflect.DeepEqual(again, decided) {
		s.t.Fatalf("%T recalled as %+v decides %v, %v; want %v", command, recalled, again, err, decided)
	}
	whole := cluster.NewView("books")
	for _, fact := range s.facts {
		whole = whole.Apply(fact)
	}
	if diff := cmp.Diff(whole, s.view); diff != "" {
		s.t.Fatalf("folded again (-again +folded): %s", diff)
	}
	return out.String()
}

func (s *script) host(d *datadriven.TestData) events.HostJoined {
	h := events.HostJoined{
		Name: first(d), Peer: first(d) + ":7071", Zone: word(d, "zone"), Labels: labels(d, "labels"), Weight: 100, Build: "1.0",
		Protocol: events.ProtocolRange{Oldest: 1, Newest: 1}, Catalogue: []events.KindVersion{{Of: "turn.ended", Version: 3}},
		Fence: 5 * events.Second, Silent: events.Second,
	}
	number := func(name string, into *int) {
		if d.HasArg(name) {
			n, err := strconv.Atoi(word(d, name))
			if err != nil {
				d.Fatalf(s.t, "%s: %v", name, err)
			}
			*into = n
		}
	}
	number("weight", &h.Weight)
	number("oldest", &h.Protocol.Oldest)
	number("newest", &h.Protocol.Newest)
	fence := int(h.Fence / events.Second)
	number("fence", &fence)
	h.Fence = events.Micros(fence) * events.Second
	if d.HasArg("build") {
		h.Build = word(d, "build")
	}
	if d.HasArg("knows") {
		h.Catalogue = nil
		for _, known := range words(d, "knows") {
			kind, version, _ := strings.Cut(known, "@")
			n, err := strconv.Atoi(version)
			if err != nil {
				d.Fatalf(s.t, "knows: %v", err)
			}
			h.Catalogue = append(h.Catalogue, events.KindVersion{Of: events.Kind(kind), Version: n})
		}
	}
	if d.HasArg("peer") {
		h.Peer = word(d, "peer")
	}
	return h
}

func (s *script) ranked(d *datadriven.TestData) string {
	ranked := s.view.Ranked(events.Stream(first(d)))
	owner, ok := s.view.Owner(events.Stream(first(d)))
	if ok != (len(ranked) > 0) || ok && ranked[0] != owner {
		s.t.Fatalf("the owner is %s, ranked are %v", owner, ranked)
	}
	if !ok {
		return "nobody\n"
	}
	return strings.Trim(fmt.Sprint(ranked), "[]") + "\n"
}

func show(v *cluster.View) string {
	var out strings.Builder
	fmt.Fprintf(&out, "epoch %d", v.Epoch)
	if v.Mixed() {
		fmt.Fprint(&out, ", mixed")
	}
	fmt.Fprintln(&out)
	for _, m := range v.Sorted() {
		fmt.Fprintf(&out, "%s %s, build %s", m.ID, m.State, m.Joined.Build)
		if m.Joined.Older {
			fmt.Fprint(&out, ", older")
		}
		fmt.Fprintln(&out)
	}
	for _, gone := range v.Gone {
		fmt.Fprintf(&out, "%s gone at %d %s\n", gone.ID, gone.Epoch, gone.Because)
	}
	pins := make([]string, 0, len(v.Pins))
	for key, pin := range v.Pins {
		pins = append(pins, fmt.Sprintf("%s to %v\n", key, pin.To))
	}
	slices.Sort(pins)
	return out.String() + strings.Join(pins, "")
}

func first(d *datadriven.TestData) string {
	for _, arg := range d.CmdArgs {
		if len(arg.Vals) == 0 && arg.Key != "older" {
			return arg.Key
		}
	}
	return ""
}

func words(d *datadriven.TestData, key string) []string {
	arg, _ := d.Arg(key)
	return arg.Vals
}

func word(d *datadriven.TestData, key string) string { return strings.Join(words(d, key), ",") }

// labels reads NAME:VALUE.
func labels(d *datadriven.TestData, key string) []events.Label {
	var list []events.Label
	for _, text := range words(d, key) {
		name, value, _ := strings.Cut(text, ":")
		list = append(list, events.Label{Name: name, Value: value})
	}
	return list
}
