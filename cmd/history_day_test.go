package cmd

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"example.com/life/events"
)

// TestDatesWhereTheyChange: a line for each day, but for today at the top.
func TestDatesWhereTheyChange(t *testing.T) {
	var out bytes.Buffer
	p := (&app{out: &out}).eventPrinter(false)
	now := time.Now()
	for i, at := range []time.Time{now, now, now.AddDate(0, 0, -3), now.AddDate(0, 0, -3), now.AddDate(0, 0, 1)} {
		e := events.Envelope{Revision: events.Revision(i), Time: events.Micros(at.UnixMicro()), Kind: "x.happened", Version: 1, Data: []byte(`{}`)}
		if err := p.print(&e); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for line := range strings.Lines(out.String()) {
		got = append(got, strings.Fields(line)[0])
	}
	want := []string{"0", "1", now.AddDate(0, 0, -3).Format(time.DateOnly), "2", "3", now.AddDate(0, 0, 1).Format(time.DateOnly), "4"}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("printed %v, want %v:\n%s", got, want, out.String())
	}
}
