package cmd

import (
	"strings"
	"testing"
	"time"

	"example.com/life/actors/membership"
	"example.com/life/adapters/peers"
	"example.com/life/events"
)

// TestExamineExpiry: certificates are noted in time to be replaced; that of the authority before that of the host, as it takes all hosts.
func TestExamineExpiry(t *testing.T) {
	now := time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)
	in := func(d time.Duration) time.Time { return now.Add(expiresSoon + d) }
	for _, test := range []struct {
		name           string
		host, ca       time.Time
		ok             bool
		detail, remedy string
	}{
		{"both are valid for long", in(time.Hour), in(48 * time.Hour), true, "host books-1, until 2026-12-31", ""},
		{"to the day", in(0), in(0), true, "host books-1, until 2026-12-31", ""},
		{"the host's ends soon", in(-time.Second), in(time.Hour), false, "that of host books-1 expires on 2026-12-31", "life cluster certificates 'my certs' --host books-1"},
		{"the host's has ended", now.Add(-time.Hour), in(time.Hour), false, "that of host books-1 expires on 2026-12-01", "remove it and its key"},
		{"the authority's ends soon", in(time.Hour), in(-48 * time.Hour), false, "the authority's expires on 2026-12-29", "make a new authority in another directory"},
		{"both end soon", in(-time.Hour), in(-48 * time.Hour), false, "the authority's expires", "new certificates for all hosts"},
	} {
		found := examineExpiry(peers.Expiry{Host: test.host, Authority: test.ca}, "books-1", "my certs", now)
		if found.OK != test.ok || found.trouble || !strings.Contains(found.Detail, test.detail) || !strings.Contains(found.Remedy, test.remedy) {
			t.Errorf("%s: %+v", test.name, found)
		}
	}
}

// TestExamineSkew: what hosts would warn of is noted, and what would refuse a join is wrong, whichever clock is ahead.
func TestExamineSkew(t *testing.T) {
	for _, test := range []struct {
		skew        events.Micros
		ok, trouble bool
		detail      string
	}{
		{0, true, false, "its clock differs by 0s"},
		{membership.SkewWarned, true, false, "differs by 1s"},
		{-membership.SkewWarned, true, false, "differs by -1s"},
		{membership.SkewWarned + 1, false, false, "differs by 1s"},
		{-membership.SkewWarned - 1, false, false, "differs by -1s"},
		{membership.SkewRefused, false, false, "differs by 30s"},
		{membership.SkewRefused + 1, false, true, "differs by 30s, and a join is refused beyond 30s"},
		{-40 * events.Second, false, true, "differs by -40s, and a join is refused beyond 30s"},
	} {
		found := examineSkew("peer books-2#1", "answers in 1ms at 127.0.0.1:1", test.skew)
		if found.OK != test.ok || found.trouble != test.trouble || !strings.HasSuffix(found.Detail, test.detail) || (found.Remedy == "") != test.ok {
			t.Errorf("a clock that differs by %d µs: %+v", test.skew, found)
		}
	}
}
