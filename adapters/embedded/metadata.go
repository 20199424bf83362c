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
	text, err := metadataText(e)
	if err != nil || m.read(text) != nil {
		return Metadata{Revision: e.Revision}
	}
	return m
}

var errMetadata = errors.New("the metadata are malformed")

// byteMark is what some editors put before a text in UTF-8.
const byteMark = "\xef\xbb\xbf"

// metadataText is what a metadata event has as JSON.
func metadataText(e *events.Envelope) ([]byte, error) {
	if e.Foreign != nil && e.Foreign.ContentType != "" && e.Foreign.ContentType != "application/json" {
		return nil, fmt.Errorf("%w: their type is %s", errMetadata, e.Foreign.ContentType)
	}
	return JSON(e)
}

// JSON returns the data of an event whose writer meant JSON: as they were written, less a byte order mark.
func JSON(e *events.Envelope) ([]byte, error) {
	text := []byte(e.Data)
	if e.Foreign != nil && e.Foreign.Base64 { // a byte order mark is no JSON
		raw, ok := rawData(e.Data)
		if !ok {
			return nil, fmt.Errorf("the data of %s are no base64", e.Ref())
		}
		text = raw
	}
	return bytes.TrimPrefix(text, []byte(byteMark)), nil
}

// members hands over the members of the JSON object that a text begins with, in order. What follows the object counts for nothing, as
// in EventStoreDB 24.10.
func members(text []byte, use func(name string, value json.RawMessage) error) error {
	in := json.NewDecoder(bytes.NewReader(text))
	if open, err := in.Token(); err != nil || open != json.Delim('{') {
		return errors.Join(fmt.Errorf("%w: they are no JSON object", errMetadata), err)
	}
	for in.More() {
		token, err := in.Token()
		if err != nil {
			return fmt.Errorf("%w: %w", errMetadata, err)
		}
		name, ok := token.(string)
		if !ok {
			return fmt.Errorf("%w: %v is no name", errMetadata, token)
		}
		var value json.RawMessage
		if err := in.Decode(&value); err != nil {
			return fmt.Errorf("%w: %s: %w", errMetadata, name, err)
		}
		if err := use(name, value); err != nil {
			return err
		}
	}
	if _, err := in.Token(); err != nil {
		return fmt.Errorf("%w: %w", errMetadata, err)
	}
	return nil
}

func (m *Metadata) read(text []byte) error {
	return members(text, func(name string, value json.RawMessage) (err error) {
		switch name {
		case "$maxCount":
			m.MaxCount, err = positive(name, value)
		case "$tb":
			var before int64
			before, err = positive(name, value)
			m.TruncateBefore = events.Revision(before)
		case "$maxAge":
			m.MaxAge, err = seconds(name, value)
		case "$cacheControl":
			m.CacheControl, err = seconds(name, value)
		case "$tmp": // nobody asks for it, but it must be well formed
			if flag := string(value); flag != "true" && flag != "false" {
				err = fmt.Errorf("%w: $tmp is %s", errMetadata, flag)
			}
		case "$acl":
			m.ACL, err = ParseACL(value)
		}
		return err
	})
}

// positive reads a whole number; one that is not positive counts as not given.
func positive(name string, text json.RawMessage) (int64, error) {
	n, err := whole(name, text)
	return max(n, 0), err
}

func whole(name string, text json.RawMessage) (int64, error) {
	n, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%w: %s is %s", errMetadata, name, text)
	}
	return n, nil
}

// longestAge is what EventStoreDB can hold as a time span: 2^63 units of 100 ns.
const longestAge = math.MaxInt64 / 10_000_000

func seconds(name string, text json.RawMessage) (time.Duration, error) {
	n, err := whole(name, text)
	if err == nil && (n > longestAge || n < -longestAge) {
		err = fmt.Errorf("%w: %s is %s seconds", errMetadata, name, text)
	}
	return time.Duration(min(max(n, 0), math.MaxInt64/int64(time.Second))) * time.Second, err
}

// ParseACL reads an access control list. A key that no list has makes it malformed, so that a right that was misspelt is not taken for
// one that was not given.
func ParseACL(text []byte) (*ACL, error) {
	a := &ACL{}
	lists := map[string]*[]string{"$r": &a.Read, "$w": &a.Write, "$d": &a.Delete, "$mr": &a.MetaRead, "$mw": &a.MetaWrite}
	err := members(text, func(name string, value json.RawMessage) (err error) {
		list := lists[name]
		if list == nil {
			return fmt.Errorf("%w: $acl has %q", errMetadata, name)
		}
		*list, err = roles(name, value)
		return err
	})
	if err != nil {
		return nil, err
	}
	return a, nil
}

// roles reads one name or a list of them.
func roles(name string, text json.RawMessage) ([]string, error) {
	var one *string
	if json.Unmarshal(text, &one) == nil && one != nil {
		return []string{*one}, nil
	}
	var names []*string
	if err := json.Unmarshal(text, &names); err != nil || names == nil {
		return nil, fmt.Errorf("%w: $acl: %s is %s", errMetadata, name, text)
	}
	list := make([]string, len(names))
	for i, role := range names {
		if role == nil {
			return nil, fmt.Errorf("%w: $acl: a role of %s is null", errMetadata, name)
		}
		list[i] = *role
	}
	return list, nil
}

// truncatedBefore returns metadata with another $tb, and everything else as it was; ok is false when they are no JSON object.
func truncatedBefore(text []byte, revision events.Revision) (changed []byte, ok bool) {
	changed = strconv.AppendInt([]byte(`{"$tb":`), int64(revision), 10)
	err := members(text, func(name string, value json.RawMessage) error {
		if name == "$tb" {
			return nil
		}
		quoted, err := json.Marshal(name)
		changed = append(append(append(append(changed, ','), quoted...), ':'), value...)
		return err
	})
	return append(changed, '}'), err == nil
}
