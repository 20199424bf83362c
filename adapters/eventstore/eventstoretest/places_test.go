package eventstoretest_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/life/adapters/eventstore/eventstoretest"
)

// Everything is read from places where a record begins. What is written here was recorded from servers.
func TestPlaces(t *testing.T) {
	for _, profile := range []eventstoretest.Profile{eventstoretest.Version23(), eventstoretest.Version24()} {
		cluster := eventstoretest.Start(t, eventstoretest.Config{Profile: profile, Seed: 3})
		c := dial(t, cluster.Node(0))
		a, b, last := c.put("a", 1), c.put("b", 1), c.put("a", 1)
		event := func(at ...uint64) (list []string) {
			for _, p := range at {
				list = append(list, fmt.Sprintf("event %d", p))
			}
			return append(list, "end")
		}
		refused := []string{"Unknown: Unexpected ReadAllResult: " + profile.InvalidPlace}
		nonsense := []string{"Unknown: Exception was thrown by handler."}
		for _, row := range []struct {
			commit, prepare uint64
			backward        bool
			want            []string
		}{
			{0, 0, false, event(a, b, last)},
			{0, 0, true, event()},
			{a, a, false, event(a, b, last)},
			{a, a, true, event()},
			{b, b, false, event(b, last)},
			{b, 0, false, event(b, last)},
			{b, b, true, event(a)},
			{last, last, false, event(last)},
			{last, last, true, event(b, a)},
			{b + 1, b + 1, false, refused},
			{b + 1, b + 1, true, refused},
			{last + 1, last + 1, false, event()},
			{last + 1, last + 1, true, refused},
			{1 << 40, 1 << 40, false, event()},
			{1 << 40, 1 << 40, true, refused},
			{math.MaxInt64, math.MaxInt64, false, event()},
			{1 << 63, 1 << 63, false, nonsense},
			{1 << 63, 1 << 63, true, nonsense},
			{b, b + 1, false, nonsense},
			{b, b + 1, true, nonsense},
			{math.MaxUint64, math.MaxUint64, false, event()},
			{math.MaxUint64, math.MaxUint64, true, event(last, b, a)},
			{math.MaxUint64, 0, false, nonsense},
			{math.MaxUint64, 0, true, nonsense},
		} {
			if got := c.all(request(place(row.commit, row.prepare), 10, row.backward, "", 0), 100); !slices.Equal(got, row.want) {
				t.Errorf("%s: from %d/%d, backward %t: %q, want %q", profile.Version, row.commit, row.prepare, row.backward, got, row.want)
			}
		}
		if got := c.all(request(place(b+1, b+1), 1, false, "a", 32), 100)[0]; !strings.Contains(got, "FilteredReadAllResult") {
			t.Errorf("%s: filtered from nowhere: %q", profile.Version, got)
		}
		for _, row := range []struct {
			commit, prepare uint64
			want            []string
		}{
			{0, 0, []string{"confirmation", fmt.Sprint("event ", a), fmt.Sprint("event ", b), fmt.Sprint("event ", last), "caught up"}},
			{b, b, []string{"confirmation", fmt.Sprint("event ", last), "caught up"}},
			{b, 0, []string{"confirmation", fmt.Sprint("event ", b), fmt.Sprint("event ", last), "caught up"}},
			{last, last, []string{"confirmation", "caught up"}},
			{1 << 40, 1 << 40, []string{"confirmation", "caught up"}},
			{b, b + 1, nonsense},
		} {
			if got := c.all(request(place(row.commit, row.prepare), 0, false, "", 0), len(row.want)); !slices.Equal(got, row.want) {
				t.Errorf("%s: subscription from %d/%d: %q, want %q", profile.Version, row.commit, row.prepare, got, row.want)
			}
		}
		bad := c.all(request(place(b+1, b+1), 0, false, "", 0), 3)
		want := []string{"confirmation", "InvalidArgument: Trying to read from an invalid position."}
		if !profile.LateRefusal {
			want = nonsense
		}
		if !slices.Equal(bad, want) {
			t.Errorf("%s: subscription from nowhere: %q, want %q", profile.Version, bad, want)
		}
	}
}

// Which checkpoints a filtered subscription is told, as recorded.
func TestCheckpoints(t *testing.T) {
	const most = uint64(math.MaxUint64)
	for _, row := range []struct {
		profile eventstoretest.Profile
		others  int
		window  uint32
		want    func(others []uint64, next uint64) []string
	}{
		{eventstoretest.Version24(), 3, 32, func([]uint64, uint64) []string {
			return []string{fmt.Sprintf("checkpoint %d/%d", most, most), "caught up"}
		}},
		{eventstoretest.Version24Mended(), 3, 32, func([]uint64, uint64) []string { return []string{"caught up"} }},
		{eventstoretest.Version23(), 3, 32, func([]uint64, uint64) []string { return []string{"caught up"} }},
		{eventstoretest.Version24(), 6, 2, func(others []uint64, _ uint64) []string {
			return []string{"checkpoint 0/0", fmt.Sprintf("checkpoint %d/0", others[2]), fmt.Sprintf("checkpoint %d/0", others[4]), "caught up"}
		}},
		{eventstoretest.Version25(), 6, 2, func(others []uint64, next uint64) []string {
			return []string{fmt.Sprintf("checkpoint %d/0", others[2]), fmt.Sprintf("checkpoint %d/0", others[4]), fmt.Sprintf("checkpoint %d/0", next), "caught up"}
		}},
		{eventstoretest.Version24Mended(), 6, 2, func(others []uint64, _ uint64) []string {
			return []string{
				fmt.Sprintf("checkpoint %d/%d", others[1], others[1]), fmt.Sprintf("checkpoint %d/%d", others[3], others[3]),
				fmt.Sprintf("checkpoint %d/%d", others[5], others[5]), "caught up",
			}
		}},
	} {
		cluster := eventstoretest.Start(t, eventstoretest.Config{Profile: row.profile, Seed: 4})
		c := dial(t, cluster.Node(0))
		others := make([]uint64, row.others)
		for i := range others {
			others[i] = c.put("other", 1)
		}
		feed := c.follow(within(t, time.Minute), request(start(), 0, false, "mine", row.window))
		caught := feed.until("caught up")
		next := c.put("mine", 1)
		want := append([]string{"confirmation"}, row.want(others, next)...)
		if !slices.Equal(caught, want) {
			t.Errorf("%s, %d others, window %d: %q, want %q", row.profile.Version, row.others, row.window, caught, want)
		}
		if live := feed.until(fmt.Sprint("event ", next)); len(live) != 1 {
			t.Errorf("%s, %d others, window %d: live %q", row.profile.Version, row.others, row.window, live)
		}
	}
}
