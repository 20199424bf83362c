package cmd

import (
	"reflect"
	"testing"

	"example.com/life/adapters/workspace"
)

func TestParseRecord(t *testing.T) {
	for text, want := range map[string]record{
		"none":            {off: true},
		defaultRecord:     {limits: workspace.Config{Files: 20_000, FileBytes: 16 << 20, Bytes: 256 << 20}},
		"files=5":         {limits: workspace.Config{Files: 5}},
		"all=1GiB,file=7": {limits: workspace.Config{Bytes: 1 << 30, FileBytes: 7}},
	} {
		if got, ok := parseRecord(text); !ok || !reflect.DeepEqual(got, want) {
			t.Errorf("%q is read as %+v, %t", text, got, ok)
		}
	}
	for _, text := range []string{"", "all", "files=0", "files=-1", "files=x", "files=1,", "file=1MB", "file=9999999999TiB", "files=4294967296", "none,files=1", "depth=1"} {
		if got, ok := parseRecord(text); ok {
			t.Errorf("%q is read as %+v", text, got)
		}
	}
}
