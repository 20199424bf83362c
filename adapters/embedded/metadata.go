package embedded

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"example.com/life/events"
)

const (
	metaPrefix   = "$$"             // begins the name of the stream that holds another's metadata
	metadataKind = "$metadata"      // of the events in it
	deletedKind  = "$streamDeleted" // of the event that ends a stream for good

	deletedBefore     = events.Revision(math.MaxInt64) // TruncateBefore of a stream that was deleted
	tombstoneRevision = events.Revision(math.MaxInt64) // of the event that ends a stream for good
)

// Metadata is what the newest event of a stream's metadata stream, "$$" and its name, says about it: how much of it can be read,
// and by whom. Fields that are not given are zero.
type Metadata struct {
	Revision       events.Revision // of the metadata event; NoRevision when there is none
	MaxCount       int64           // only so many of the newest events are read
	MaxAge         time.Duration   // only events younger than this are read
	CacheControl   time.Duration   // how long a reader may keep an answer
	TruncateBefore events.Revision // only events from this revision on are read
	ACL            *ACL            // nil: not given
}

// ACL names the users and groups that may do something with a stream. A nil list is one that was not given.
type ACL struct {
	Read, Write, Delete, MetaRead, MetaWrite []string
}

// Deleted reports that the stream reads as one that is not there, until somebody appends to it.
func (m Metadata) Deleted() bool { return m.TruncateBefore == deletedBefore }

// original returns the stream whose metadata a stream holds; ok is false when it holds none.
func original(stream events.Stream) (of events.Stream, ok bool) {
	name, ok := strings.CutPrefix(string(stream), metaPrefix)
	return events.Stream(name), ok
}

func metastream(stream events.Stream) events.Stream { return metaPrefix + stream }

// parseMetadata reads a metadata event. One that is not as it should be, in whatever detail, says nothing at all: half of what
// its writer meant could be worse than none.
func parseMetadata(e *events.Envelope) Metadata {
	m := Metadata{Revision: e.Revision}
	if e.Foreign != nil && (e.Foreign.Base64 || e.Foreign.ContentType != "" && e.Foreign.ContentType != "application/json") { // no JSON
		return m
	}
	if m.read(e.Data) != nil {
		return Metadata{Revision: e.Revision}
	}
	return m
}

var errMetadata = errors.New("the metadata are malformed")

func (m *Metadata) read(text []byte) error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(text, &fields); err != nil {
		return fmt.Errorf("%w: %w", errMetadata, err)
	}
	if fields == nil {
		return fmt.Errorf("%w: they are null", errMetadata)
	}
	var before int64
	if flag, given := fields["$tmp"]; given && string(flag) != "true" && string(flag) != "false" {
		return fmt.Errorf("%w: $tmp is %s", errMetadata, flag) // nobody asks for it, but it must be well formed
	}
	err := errors.Join(
		positive(fields, "$maxCount", &m.MaxCount),
		positive(fields, "$tb", &before),
		seconds(fields, "$maxAge", &m.MaxAge),
		seconds(fields, "$cacheControl", &m.CacheControl),
	)
	m.TruncateBefore = events.Revision(before)
	if acl, given := fields["$acl"]; given {
		m.ACL = &ACL{}
		err = errors.Join(err, m.ACL.read(acl))
	}
	return err
}

// positive reads a whole number; one that is not positive counts as not given.
func positive(fields map[string]json.RawMessage, name string, value *int64) error {
	text, given := fields[name]
	if !given {
		return nil
	}
	n, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil {
		return fmt.Errorf("%w: %s is %s", errMetadata, name, text)
	}
	*value = max(n, 0)
	return nil
}

func seconds(fields map[string]json.RawMessage, name string, value *time.Duration) error {
	var n int64
	err := positive(fields, name, &n)
	*value = time.Duration(min(n, math.MaxInt64/int64(time.Second))) * time.Second
	return err
}

func (a *ACL) read(text []byte) error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(text, &fields); err != nil {
		return fmt.Errorf("%w: $acl: %w", errMetadata, err)
	}
	if fields == nil {
		return fmt.Errorf("%w: $acl is null", errMetadata)
	}
	return errors.Join(
		roles(fields, "$r", &a.Read), roles(fields, "$w", &a.Write), roles(fields, "$d", &a.Delete),
		roles(fields, "$mr", &a.MetaRead), roles(fields, "$mw", &a.MetaWrite),
	)
}

// roles reads one name or a list of them.
func roles(fields map[string]json.RawMessage, name string, list *[]string) error {
	text, given := fields[name]
	if !given {
		return nil
	}
	if text[0] == '"' {
		*list = []string{""}
		return json.Unmarshal(text, &(*list)[0])
	}
	var names []*string
	if err := json.Unmarshal(text, &names); err != nil || names == nil {
		return fmt.Errorf("%w: $acl: %s is %s", errMetadata, name, text)
	}
	*list = make([]string, len(names))
	for i, name := range names {
		if name == nil {
			return fmt.Errorf("%w: $acl: a role is null", errMetadata)
		}
		(*list)[i] = *name
	}
	return nil
}

// truncatedBefore returns metadata with another $tb, and everything else as it was; ok is false when they are no JSON object.
func truncatedBefore(text []byte, revision events.Revision) (changed []byte, ok bool) {
	in := json.NewDecoder(bytes.NewReader(text))
	if open, err := in.Token(); err != nil || open != json.Delim('{') || !json.Valid(text) {
		return nil, false
	}
	changed = append(changed, `{"$tb":`...)
	changed = strconv.AppendInt(changed, int64(revision), 10)
	for in.More() {
		name, err := in.Token()
		if err != nil {
			return nil, false
		}
		var value json.RawMessage
		if err := in.Decode(&value); err != nil {
			return nil, false
		}
		if name == "$tb" {
			continue
		}
		quoted, err := json.Marshal(name)
		if err != nil {
			return nil, false
		}
		changed = append(append(append(append(changed, ','), quoted...), ':'), value...)
	}
	return append(changed, '}'), true
}
