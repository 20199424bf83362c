package server_test

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func revisions(read []*esdb.ResolvedEvent) string {
	var list []string
	for _, e := range read {
		list = append(list, fmt.Sprint(e.OriginalEvent().EventNumber))
	}
	return strings.Join(list, " ")
}

// TestReadStream reads a stream of five events from everywhere.
func TestReadStream(t *testing.T) {
	client := serve(t).client(t)
	appendTo(t, client, "five", eventsOf(5)...)
	for _, test := range []struct {
		name      string
		from      esdb.StreamPosition
		direction esdb.Direction
		count     uint64
		want      string
	}{
		{"from the start", esdb.Start{}, esdb.Forwards, 100, "0 1 2 3 4"},
		{"a few", esdb.Start{}, esdb.Forwards, 2, "0 1"},
		{"from a revision", esdb.Revision(3), esdb.Forwards, 100, "3 4"},
		{"from the last", esdb.Revision(4), esdb.Forwards, 100, "4"},
		{"past the end", esdb.Revision(5), esdb.Forwards, 100, ""},
		{"far past the end", esdb.Revision(math.MaxInt64), esdb.Forwards, 100, ""},
		{"backwards from the end", esdb.End{}, esdb.Backwards, 100, "4 3 2 1 0"},
		{"the last", esdb.End{}, esdb.Backwards, 1, "4"},
		{"backwards from a revision", esdb.Revision(2), esdb.Backwards, 100, "2 1 0"},
		{"backwards from beyond the end", esdb.Revision(50), esdb.Backwards, 2, "4 3"},
		{"backwards from the start", esdb.Start{}, esdb.Backwards, 100, "0"},
	} {
		t.Run(test.name, func(t *testing.T) {
			read, err := readStream(t, client, "five", esdb.ReadStreamOptions{From: test.from, Direction: test.direction}, test.count)
			if got := revisions(read); err != nil || got != test.want {
				t.Errorf("read %q, want %q: %v", got, test.want, err)
			}
		})
	}
	if _, err := readStream(t, client, "none", esdb.ReadStreamOptions{}, 1); !is(err, esdb.ErrorCodeResourceNotFound) {
		t.Errorf("a stream that is not there: %v", err)
	}
}

func is(err error, code esdb.ErrorCode) bool {
	problem, ok := esdb.FromError(err)
	return !ok && problem.Code() == code
}

// TestReadAll finds five events among what the server itself has written.
func TestReadAll(t *testing.T) {
	client := serve(t).client(t)
	appendTo(t, client, "five", eventsOf(5)...)
	all, err := readAll(t, client, esdb.ReadAllOptions{}, 1000)
	if err != nil || len(all) < 5 {
		t.Fatalf("read %d events: %v", len(all), err)
	}
	at := func(i int) esdb.Position { return all[len(all)-5+i].OriginalEvent().Position }
	for _, test := range []struct {
		name      string
		from      esdb.AllPosition
		direction esdb.Direction
		count     uint64
		want      string
	}{
		{"from a position, with it", at(2), esdb.Forwards, 100, "2 3 4"},
		{"from the end", esdb.End{}, esdb.Forwards, 100, ""},
		{"from beyond the end", esdb.Position{Commit: 1 << 40, Prepare: 1 << 40}, esdb.Forwards, 100, ""},
		{"backwards from the start", esdb.Start{}, esdb.Backwards, 100, ""},
		{"backwards from the end", esdb.End{}, esdb.Backwards, 3, "4 3 2"},
		{"backwards from a position, without it", at(2), esdb.Backwards, 2, "1 0"},
	} {
		t.Run(test.name, func(t *testing.T) {
			read, err := readAll(t, client, esdb.ReadAllOptions{From: test.from, Direction: test.direction}, test.count)
			if got := revisions(read); err != nil || got != test.want {
				t.Errorf("read %q, want %q: %v", got, test.want, err)
			}
		})
	}
	first, err := readAll(t, client, esdb.ReadAllOptions{From: all[0].OriginalEvent().Position, Direction: esdb.Backwards}, 10)
	if err != nil || len(first) != 0 || all[0].OriginalEvent().Position.Commit == 0 {
		t.Errorf("before the first event there are %d: %v", len(first), err)
	}
}

// TestLinks reads links that lead somewhere and nowhere, resolved and not.
func TestLinks(t *testing.T) {
	client := serve(t).client(t)
	first := appendTo(t, client, "a@b", eventsOf(1)...)
	targets := appendTo(t, client, "a@b", eventsOf(2)...)
	appendTo(t, client, "gone", eventsOf(1)...)
	if _, err := client.TombstoneStream(within(t), "gone", esdb.TombstoneStreamOptions{ExpectedRevision: esdb.Any{}}); err != nil {
		t.Fatal(err)
	}
	link := func(data string) esdb.EventData {
		e := event("$>", data)
		e.ContentType = esdb.ContentTypeBinary
		return e
	}
	appendTo(t, client, "links", link("1@a@b"), link("9@a@b"), link("0@gone"), link("0@never"), link("0@"), link("-1@a@b"), link(" +1 @a@b"),
		link("-2@a@b"), link("nonsense"), link("x@a@b"), link("1"), link("@a@b"), link("99999999999999999999@a@b"), link(""), event("plain", `{}`))
	const links, all = 7, 15 // those that have a number and a name are links
	for _, resolve := range []bool{false, true} {
		read, err := readStream(t, client, "links", esdb.ReadStreamOptions{ResolveLinkTos: resolve}, 100)
		if err != nil || len(read) != all {
			t.Fatalf("read %d events: %v", len(read), err)
		}
		for i, e := range read {
			isLink := i < links
			if e.OriginalEvent().StreamID != "links" || e.OriginalEvent().EventNumber != uint64(i) {
				t.Errorf("event %d is %+v", i, e.OriginalEvent())
			}
			if (e.Link != nil) != (resolve && isLink) {
				t.Errorf("resolve %v: the link of event %d is %v", resolve, i, e.Link)
			}
			if resolve && isLink && (e.Event != nil) != (i == 0 || i == 5 || i == 6) {
				t.Errorf("event %d leads to %+v", i, e.Event)
			}
		}
		if resolve && (read[5].Event.EventNumber != 2 || read[6].Event.EventNumber != 1) {
			t.Errorf("the last event is %+v, the one at +1 %+v", read[5].Event, read[6].Event)
		}
		if resolve && (read[0].Event.StreamID != "a@b" || read[0].Event.EventNumber != 1 || *read[0].Commit != read[0].Link.Position.Commit ||
			read[0].Event.Position.Commit <= first.CommitPosition || read[0].Event.Position.Commit >= targets.CommitPosition) {
			t.Errorf("the first link leads to %+v", read[0].Event)
		}
	}
}

// allFrom and streamFrom are requests through the stubs, to be changed.
func streamFrom(stream string, change func(*streams.ReadReq_Options)) *streams.ReadReq {
	options := &streams.ReadReq_Options{
		StreamOption: &streams.ReadReq_Options_Stream{Stream: &streams.ReadReq_Options_StreamOptions{
			StreamIdentifier: named(stream), RevisionOption: &streams.ReadReq_Options_StreamOptions_Start{Start: &shared.Empty{}},
		}},
		CountOption:  &streams.ReadReq_Options_Count{Count: 10},
		FilterOption: &streams.ReadReq_Options_NoFilter{NoFilter: &shared.Empty{}},
		UuidOption:   structuredIDs(),
	}
	change(options)
	return &streams.ReadReq{Options: options}
}

func allFrom(change func(*streams.ReadReq_Options)) *streams.ReadReq {
	options := &streams.ReadReq_Options{
		StreamOption: &streams.ReadReq_Options_All{All: &streams.ReadReq_Options_AllOptions{AllOption: &streams.ReadReq_Options_AllOptions_Start{Start: &shared.Empty{}}}},
		CountOption:  &streams.ReadReq_Options_Count{Count: 10},
		FilterOption: &streams.ReadReq_Options_NoFilter{NoFilter: &shared.Empty{}},
		UuidOption:   structuredIDs(),
	}
	change(options)
	return &streams.ReadReq{Options: options}
}

func asIs(*streams.ReadReq_Options) {}

func structuredIDs() *streams.ReadReq_Options_UUIDOption {
	return &streams.ReadReq_Options_UUIDOption{Content: &streams.ReadReq_Options_UUIDOption_Structured{Structured: &shared.Empty{}}}
}

// filtered makes a filter of what it chooses by, with a window of 32.
func filtered(options *streams.ReadReq_Options_FilterOptions) *streams.ReadReq_Options_Filter {
	options.Window = &streams.ReadReq_Options_FilterOptions_Max{Max: 32}
	return &streams.ReadReq_Options_Filter{Filter: options}
}

// typesBy is a filter of types.
func typesBy(expression *streams.ReadReq_Options_FilterOptions_Expression) *streams.ReadReq_Options_Filter {
	return filtered(&streams.ReadReq_Options_FilterOptions{Filter: &streams.ReadReq_Options_FilterOptions_EventType{EventType: expression}})
}

func answers(t testing.TB, client streams.StreamsClient, request *streams.ReadReq) (all []*streams.ReadResp, err error) {
	t.Helper()
	call, err := client.Read(within(t), request)
	if err != nil {
		return nil, err
	}
	for {
		answer, err := call.Recv()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		all = append(all, answer)
	}
}

// TestReadRefused leaves out or contradicts every option.
func TestReadRefused(t *testing.T) {
	client := serve(t).raw(t)
	regex := func(text string) *streams.ReadReq_Options_Filter {
		return typesBy(&streams.ReadReq_Options_FilterOptions_Expression{Regex: text})
	}
	from := func(commit, prepare uint64) func(o *streams.ReadReq_Options) {
		return func(o *streams.ReadReq_Options) { o.GetAll().AllOption = positioned(commit, prepare) }
	}
	for name, request := range map[string]*streams.ReadReq{
		"nothing":               {},
		"no options":            {Options: &streams.ReadReq_Options{}},
		"no stream":             streamFrom("", asIs),
		"no source":             streamFrom("s", func(o *streams.ReadReq_Options) { o.StreamOption = nil }),
		"nil stream":            streamFrom("s", func(o *streams.ReadReq_Options) { o.StreamOption = &streams.ReadReq_Options_Stream{} }),
		"nil everything":        allFrom(func(o *streams.ReadReq_Options) { o.StreamOption = &streams.ReadReq_Options_All{} }),
		"no revision":           streamFrom("s", func(o *streams.ReadReq_Options) { o.GetStream().RevisionOption = nil }),
		"no position":           allFrom(func(o *streams.ReadReq_Options) { o.GetAll().AllOption = nil }),
		"no count":              streamFrom("s", func(o *streams.ReadReq_Options) { o.CountOption = nil }),
		"count of zero":         streamFrom("s", func(o *streams.ReadReq_Options) { o.CountOption = &streams.ReadReq_Options_Count{} }),
		"unknown direction":     streamFrom("s", func(o *streams.ReadReq_Options) { o.ReadDirection = 7 }),
		"backwards and live":    streamFrom("s", live(func(o *streams.ReadReq_Options) { o.ReadDirection = streams.ReadReq_Options_Backwards })),
		"a filtered stream":     streamFrom("s", func(o *streams.ReadReq_Options) { o.FilterOption = regex(".") }),
		"a bad expression":      allFrom(func(o *streams.ReadReq_Options) { o.FilterOption = regex("(") }),
		"one of Perl's":         allFrom(func(o *streams.ReadReq_Options) { o.FilterOption = regex(`\Qa\E`) }),
		"no filter option":      streamFrom("s", func(o *streams.ReadReq_Options) { o.FilterOption = nil }),
		"no filter option, all": allFrom(func(o *streams.ReadReq_Options) { o.FilterOption = nil }),
		"no form of ids":        streamFrom("s", func(o *streams.ReadReq_Options) { o.UuidOption = nil }),
		"an empty form of ids":  allFrom(live(func(o *streams.ReadReq_Options) { o.UuidOption = &streams.ReadReq_Options_UUIDOption{} })),
		"forwards from the end": streamFrom("s", func(o *streams.ReadReq_Options) {
			o.GetStream().RevisionOption = &streams.ReadReq_Options_StreamOptions_End{End: &shared.Empty{}}
		}),
		"forwards from 2^64-1": streamFrom("s", func(o *streams.ReadReq_Options) {
			o.GetStream().RevisionOption = &streams.ReadReq_Options_StreamOptions_Revision{Revision: math.MaxUint64}
		}),
		"from revision 2^63": streamFrom("s", func(o *streams.ReadReq_Options) {
			o.GetStream().RevisionOption = &streams.ReadReq_Options_StreamOptions_Revision{Revision: 1 << 63}
		}),
		"backwards from revision 2^64-2": streamFrom("s", func(o *streams.ReadReq_Options) {
			o.GetStream().RevisionOption = &streams.ReadReq_Options_StreamOptions_Revision{Revision: math.MaxUint64 - 1}
			o.ReadDirection = streams.ReadReq_Options_Backwards
		}),
		"live from revision 2^63": streamFrom("s", live(func(o *streams.ReadReq_Options) {
			o.GetStream().RevisionOption = &streams.ReadReq_Options_StreamOptions_Revision{Revision: 1 << 63}
		})),
		"prepare after commit":       allFrom(from(1, 2)),
		"commit 2^63":                allFrom(from(1<<63, 0)),
		"commit 2^64-1 alone":        allFrom(from(math.MaxUint64, 0)),
		"prepare 2^64-1 alone":       allFrom(from(1, math.MaxUint64)),
		"live, prepare after commit": allFrom(live(from(1, 2))),
		"live, commit 2^64-1 alone":  allFrom(live(from(math.MaxUint64, math.MaxUint64-1))),
		"a huge expression":          allFrom(func(o *streams.ReadReq_Options) { o.FilterOption = regex(strings.Repeat("a", 1<<16)) }),
		"many prefixes":              allFrom(func(o *streams.ReadReq_Options) { o.FilterOption = prefixes(make([]string, 5000)...) }),
		"a filter of nothing": allFrom(func(o *streams.ReadReq_Options) {
			o.FilterOption = &streams.ReadReq_Options_Filter{Filter: &streams.ReadReq_Options_FilterOptions{}}
		}),
		"no interval": allFrom(live(func(o *streams.ReadReq_Options) { o.FilterOption = regex(".") })),
		"a window of nothing": allFrom(func(o *streams.ReadReq_Options) {
			filter := regex(".")
			filter.Filter.Window = &streams.ReadReq_Options_FilterOptions_Max{}
			o.FilterOption = filter
		}),
		"no window": allFrom(func(o *streams.ReadReq_Options) {
			filter := regex(".")
			filter.Filter.Window = nil
			o.FilterOption = filter
		}),
	} {
		t.Run(name, func(t *testing.T) {
			want := codes.InvalidArgument
			if strings.Contains(name, "2^6") || strings.Contains(name, "commit") || name == "forwards from the end" {
				want = codes.Unknown // as EventStoreDB says of these
			}
			if got, err := answers(t, client, request); status.Code(err) != want || len(got) > 0 {
				t.Errorf("answered %v: %v", got, err)
			}
		})
	}
}

// prefixes is a filter by the beginnings of streams' names.
func prefixes(list ...string) *streams.ReadReq_Options_Filter {
	return filtered(&streams.ReadReq_Options_FilterOptions{
		Filter: &streams.ReadReq_Options_FilterOptions_StreamIdentifier{StreamIdentifier: &streams.ReadReq_Options_FilterOptions_Expression{Prefix: list}},
	})
}

// positioned is a place in everything.
func positioned(commit, prepare uint64) *streams.ReadReq_Options_AllOptions_Position {
	return &streams.ReadReq_Options_AllOptions_Position{Position: &streams.ReadReq_Options_Position{CommitPosition: commit, PreparePosition: prepare}}
}

// TestReadFiltered reads chosen events of $all, both ways.
func TestReadFiltered(t *testing.T) {
	w := serve(t)
	client := w.client(t)
	for i := range 6 {
		appendTo(t, client, fmt.Sprintf("%s-%d", []string{"even", "odd"}[i%2], i), event([]string{"A", "B", "AB"}[i%3], `{}`))
	}
	for _, test := range []struct {
		name      string
		filter    *streams.ReadReq_Options_Filter
		backwards bool
		count     uint64
		want      string
	}{
		{"streams by prefix", prefixes("odd-", "nothing"), false, 10, "odd-1 odd-3 odd-5"},
		{"two of them", prefixes("odd-"), false, 2, "odd-1 odd-3"},
		{"backwards", prefixes("odd-"), true, 2, "odd-5 odd-3"},
		{"no prefix at all", prefixes(), false, 10, ""},
		{"types by prefix", typesBy(&streams.ReadReq_Options_FilterOptions_Expression{Prefix: []string{"A"}}), false, 10, "even-0 even-2 odd-3 odd-5"},
		{"types by expression", typesBy(&streams.ReadReq_Options_FilterOptions_Expression{Regex: "^.?B$"}), false, 10, "odd-1 even-2 even-4 odd-5"},
		{"types by what they are not", typesBy(&streams.ReadReq_Options_FilterOptions_Expression{Regex: `^(?!\$|A$)`}), false, 10, "odd-1 even-2 even-4 odd-5"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := answers(t, w.raw(t), allFrom(func(o *streams.ReadReq_Options) {
				o.FilterOption, o.CountOption = test.filter, &streams.ReadReq_Options_Count{Count: test.count}
				if test.backwards {
					o.ReadDirection = streams.ReadReq_Options_Backwards
					o.GetAll().AllOption = &streams.ReadReq_Options_AllOptions_End{End: &shared.Empty{}}
				}
			}))
			var names []string
			for _, answer := range got {
				names = append(names, string(answer.GetEvent().GetEvent().GetStreamIdentifier().GetStreamName()))
			}
			if strings.Join(names, " ") != test.want || err != nil {
				t.Errorf("read %q, want %q: %v", names, test.want, err)
			}
		})
	}
}

// TestCompatibility: clients that ask for more get where the stream begins and ends; others must get events and nothing else.
func TestCompatibility(t *testing.T) {
	w := serve(t)
	appendTo(t, w.client(t), "s", eventsOf(3)...)
	for compatibility, want := range []int{3, 4} {
		for _, direction := range []streams.ReadReq_Options_ReadDirection{streams.ReadReq_Options_Forwards, streams.ReadReq_Options_Backwards} {
			got, err := answers(t, w.raw(t), streamFrom("s", func(o *streams.ReadReq_Options) {
				o.ControlOption = &streams.ReadReq_Options_ControlOption{Compatibility: uint32(compatibility)}
				if o.ReadDirection = direction; direction == streams.ReadReq_Options_Backwards {
					o.GetStream().RevisionOption = &streams.ReadReq_Options_StreamOptions_End{End: &shared.Empty{}}
				}
			}))
			if err != nil || len(got) != want {
				t.Fatalf("compatibility %d: %v: %v", compatibility, got, err)
			}
			if want == 4 && got[3].GetLastStreamPosition() != 2 {
				t.Errorf("the last answer is %v", got[3])
			}
		}
	}
}

// TestFirstPosition: who asks for more is told where the stream begins when a page of what was asked for has nothing (recorded rule 15).
func TestFirstPosition(t *testing.T) {
	w := serve(t)
	client, raw := w.client(t), w.raw(t)
	for name, metadata := range map[string]string{"short": `{"$tb":10}`, "long": `{"$tb":40}`, "whole": "", "newest": `{"$maxCount":1}`, "none": `{"$tb":3}`, "beyond": `{"$tb":100}`} {
		appendTo(t, client, name, eventsOf(map[string]int{"short": 12, "long": 42, "whole": 3, "newest": 50, "none": 3, "beyond": 3}[name])...)
		if metadata != "" {
			appendTo(t, client, "$$"+name, event("$metadata", `{}`), event("$metadata", metadata))
		}
	}
	for _, test := range []struct {
		stream      string
		from, count uint64
		want        string
	}{
		{"short", 0, 3, "first 10, 10, 11, last 11"},
		{"short", 0, 10, "first 10, 10, 11, last 11"},
		{"short", 0, 11, "10, 11, last 11"},
		{"short", 0, 1000, "10, 11, last 11"},
		{"short", 9, 1, "first 10, 10, last 11"},
		{"short", 10, 1, "10, last 11"},
		{"short", 12, 1000, "last 11"},
		{"short", 13, 1000, "first 12, last 11"},
		{"long", 0, 1000, "first 40, 40, 41, last 41"},
		{"long", 9, 1000, "40, 41, last 41"},
		{"whole", 0, 1, "0, last 2"},
		{"whole", 3, 1, "last 2"},
		{"whole", 4, 1, "first 3, last 2"},
		{"whole", math.MaxInt64, math.MaxUint64, "first 3, last 2"},
		{"newest", 0, 1000, "first 49, 49, last 49"},
		{"newest", 18, 32, "49, last 49"},
		{"newest", 18, 31, "first 49, 49, last 49"},
		{"none", 0, 1000, "first 3, last 2"},
		{"none", 0, 1, "first 3, last 2"},
		{"none", 3, 1, "last 2"},
		{"beyond", 0, 1000, "first 100, first 3, last 2"},
		{"beyond", 90, 1000, "first 3, last 2"},
		{"$$short", 0, 1, "first 1, 1, last 1"},
		{"$$short", 0, 2, "1, last 1"},
	} {
		got, err := answers(t, raw, streamFrom(test.stream, func(o *streams.ReadReq_Options) {
			o.ControlOption = &streams.ReadReq_Options_ControlOption{Compatibility: 1}
			o.GetStream().RevisionOption = &streams.ReadReq_Options_StreamOptions_Revision{Revision: test.from}
			o.CountOption = &streams.ReadReq_Options_Count{Count: test.count}
		}))
		var told []string
		for _, answer := range got {
			switch content := answer.GetContent().(type) {
			case *streams.ReadResp_FirstStreamPosition:
				told = append(told, fmt.Sprint("first ", content.FirstStreamPosition))
			case *streams.ReadResp_LastStreamPosition:
				told = append(told, fmt.Sprint("last ", content.LastStreamPosition))
			default:
				told = append(told, fmt.Sprint(answer.GetEvent().GetEvent().GetStreamRevision()))
			}
		}
		if strings.Join(told, ", ") != test.want || err != nil {
			t.Errorf("%s from %d, %d events: %s, want %s: %v", test.stream, test.from, test.count, strings.Join(told, ", "), test.want, err)
		}
	}
}

// TestIDs reads the id of an event in both forms.
func TestIDs(t *testing.T) {
	w := serve(t)
	e := event("tested", `{}`)
	appendTo(t, w.client(t), "s", e)
	got, err := answers(t, w.raw(t), streamFrom("s", func(o *streams.ReadReq_Options) {
		o.UuidOption = &streams.ReadReq_Options_UUIDOption{Content: &streams.ReadReq_Options_UUIDOption_String_{String_: &shared.Empty{}}}
	}))
	if err != nil || len(got) != 1 || got[0].GetEvent().GetEvent().GetId().GetString_() != e.EventID.String() {
		t.Errorf("read %v: %v", got, err)
	}
	got, err = answers(t, w.raw(t), streamFrom("s", asIs))
	if err != nil || len(got) != 1 || got[0].GetEvent().GetEvent().GetId().GetStructured() == nil {
		t.Errorf("read %v: %v", got, err)
	}
}
