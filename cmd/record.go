package cmd

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"example.com/life/adapters/workspace"
)

// defaultRecord is what the setting record says unless it is set.
const defaultRecord = "files=20000,file=16MiB,all=256MiB"

// record is what is recorded of the workspaces of a host's agents.
type record struct {
	off    bool // nothing
	limits workspace.Config
}

// parseRecord reads the setting record. What it does not name has its standard value.
func parseRecord(text string) (record, bool) {
	if text == "none" {
		return record{off: true}, true
	}
	var r record
	for part := range strings.SplitSeq(text, ",") {
		name, value, _ := strings.Cut(part, "=")
		n, ok := parseSize(value)
		if !ok {
			return r, false
		}
		switch name {
		case "files":
			if r.limits.Files = int(n); n > math.MaxInt32 {
				return r, false
			}
		case "file":
			r.limits.FileBytes = n
		case "all":
			r.limits.Bytes = n
		default:
			return r, false
		}
	}
	return r, true
}

// parseSize reads a number from 1, with or without a unit.
func parseSize(text string) (int64, bool) {
	unit := int64(1)
	for i, name := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if digits, is := strings.CutSuffix(text, name); is {
			text, unit = digits, 1<<(10*(i+1))
		}
	}
	n, err := strconv.ParseInt(text, 10, 64)
	return n * unit, err == nil && n > 0 && n <= math.MaxInt64/unit
}

// checkRecord reads the setting record.
func (c *config) checkRecord() error {
	record, ok := parseRecord(c.get("record"))
	if !ok {
		return c.find("record").wrong(fmt.Sprintf("must be none or limits such as %s", defaultRecord))
	}
	c.record = record
	return nil
}

// defaultIgnore is what the setting ignore says unless it is set.
const defaultIgnore = ".lifeignore"

// checkIgnore reads the setting ignore.
func (c *config) checkIgnore() error {
	text := c.get("ignore")
	if text == "none" {
		return nil
	}
	for name := range strings.SplitSeq(text, ",") {
		if name = strings.TrimSpace(name); name == "" || strings.Contains(name, "/") {
			return c.find("ignore").wrong("must be none or names of files such as .lifeignore,.gitignore")
		}
		c.ignore = append(c.ignore, name)
	}
	return nil
}
