package supervisor

import (
	"errors"
	"math"
	"os"
	"testing"
	"time"
)

func FuzzParseStat(f *testing.F) {
	own, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(own)
	f.Add([]byte("12 (a) b) (c\n) Z 3 4 5"))
	f.Add([]byte("12 () "))
	f.Fuzz(func(t *testing.T, stat []byte) {
		if p, ok := parseStat(7, stat); ok && p.pid != 7 {
			t.Errorf("%q became %+v", stat, p)
		}
	})
}

func TestParseStatSurvivesAnyName(t *testing.T) {
	got, ok := parseStat(12, []byte("12 (a) S 1 1 (\n)) Z 3 4 5"))
	if want := (process{pid: 12, parent: 3, group: 4, dead: true}); !ok || got != want {
		t.Errorf("%+v, %v; want %+v", got, ok, want)
	}
}

func FuzzParseReport(f *testing.F) {
	f.Add("exit 0 0 0\n")
	f.Add("exit -1 9 0")
	f.Add("failed to start\n")
	f.Fuzz(func(t *testing.T, line string) {
		exit, err := ParseReport(line)
		if err != nil {
			return
		}
		if again, err := ParseReport(formatReport(exit, nil)); err != nil || again != exit {
			t.Errorf("%q: %+v came back as %+v, %v", line, exit, again, err)
		}
	})
}

func TestRenewal(t *testing.T) {
	for _, until := range []time.Duration{0, 1, 255, 256, 3*time.Hour + 5*time.Nanosecond, math.MaxInt64} {
		if renewal := Renewal(until); len(renewal) != renewalSize || readRenewal([renewalSize]byte(renewal)) != until {
			t.Errorf("%d became %v", until, renewal)
		}
	}
}

func TestReportOfAFailureIsOneLine(t *testing.T) {
	if _, err := ParseReport(formatReport(Exit{}, errors.New("two\nlines"))); err == nil || err.Error() != "two lines" {
		t.Errorf("%v", err)
	}
}
