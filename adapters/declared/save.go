package declared

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"example.com/life/events"
)

// saved is a fold as it is stored: everything under its name, so that life projections step can say what an event changes.
type saved struct {
	Declaration string                           `json:"declaration"` // the digest of its source
	Groups      map[string]map[string]any        `json:"groups"`      // the fields by the key, which is written as a JSON list
	Remembered  map[string]map[string]savedEntry `json:"remembered,omitempty"`
	Unmatched   int64                            `json:"unmatched,string"`
	Dropped     int64                            `json:"dropped,string"`
}

type savedEntry struct {
	At   events.Position `json:"at,string"`
	Keep map[string]any  `json:"keep"`
}

// Save implements projections.Fold. It writes what saved reads, by hand: with encoding/json a large state takes several times as long,
// and for so long nothing is folded. Groups are in the order of their keys, what is remembered in that of its events.
func (f *fold) Save() ([]byte, error) {
	out := append(make([]byte, 0, 256+f.size), `{"declaration":`...)
	out = appendText(out, f.of.digest)
	out = append(out, `,"groups":{`...)
	for i, g := range f.sorted() {
		out = appendComma(out, i)
		out = append(appendText(out, string(appendList(nil, g.key))), ':')
		out = appendFields(out, g.values, func(i int) string { return f.of.fold[i].name })
	}
	out = append(out, '}')
	for i, r := range f.remember {
		if i == 0 {
			out = append(out, `,"remembered":{`...)
		}
		out = f.of.remember[i].appendTo(appendComma(out, i), r)
	}
	if len(f.remember) > 0 {
		out = append(out, '}')
	}
	out = append(out, `,"unmatched":"`...)
	out = append(strconv.AppendInt(out, f.unmatched, 10), `","dropped":"`...)
	return append(strconv.AppendInt(out, f.dropped, 10), `"}`...), nil
}

// appendTo writes what is remembered.
func (m *memory) appendTo(out []byte, r *remembered) []byte {
	out = append(appendText(out, m.name), `:{`...)
	for i, e := range r.live() {
		out = append(appendText(appendComma(out, i), e.under), `:{"at":"`...)
		out = append(strconv.AppendUint(out, uint64(e.at), 10), `","keep":`...)
		out = append(appendFields(out, e.values, m.short), '}')
	}
	return append(out, '}')
}

func appendFields(out []byte, values []any, name func(int) string) []byte {
	out = append(out, '{')
	for i, value := range values {
		out = append(appendText(appendComma(out, i), name(i)), ':')
		out = appendValue(out, value)
	}
	return append(out, '}')
}

func appendList(out []byte, values []any) []byte {
	out = append(out, '[')
	for i, value := range values {
		out = appendValue(appendComma(out, i), value)
	}
	return append(out, ']')
}

func appendComma(out []byte, i int) []byte {
	if i > 0 {
		return append(out, ',')
	}
	return out
}

func appendValue(out []byte, value any) []byte {
	switch v := value.(type) {
	case int:
		return strconv.AppendInt(out, int64(v), 10)
	case bool:
		return strconv.AppendBool(out, v)
	case string:
		return appendText(out, v)
	}
	return append(out, "null"...) // there is nothing else: restoring it is refused
}

// appendText writes a text as JSON.
func appendText(out []byte, text string) []byte {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c == '"' || c == '\\' || c > '~' {
			return append(out, escaped(text)...)
		}
	}
	out = append(out, '"')
	out = append(out, text...)
	return append(out, '"')
}

// escaped is a text in which something has to be written otherwise.
func escaped(text string) []byte {
	out, err := events.PlainJSON(text)
	if err != nil {
		return []byte(`""`) // no text does that
	}
	return out
}

// Restore implements projections.Fold.
func (f *fold) Restore(state []byte) error {
	var s saved
	if err := readJSON(state, &s); err != nil {
		return fmt.Errorf("restore the saved state: %w", err)
	}
	if s.Declaration != f.of.digest {
		return errors.New("restore the saved state: another declaration saved it")
	}
	restored := newFold(f.of)
	restored.machine.meter.begin("ordering the groups", maxAnswer)
	if err := restored.take(&s); err != nil {
		return fmt.Errorf("restore the saved state: %w", err)
	}
	*f = *restored
	return nil
}

func readJSON(text []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	decoder.DisallowUnknownFields()
	return decoder.Decode(into)
}

// take takes over what was saved, which has the names and shapes of the declaration.
func (f *fold) take(s *saved) error {
	if len(s.Remembered) != len(f.remember) || s.Unmatched < 0 || s.Dropped < 0 {
		return errors.New("it does not fit the declaration")
	}
	f.unmatched, f.dropped = s.Unmatched, s.Dropped
	for key, fields := range s.Groups {
		g, err := f.of.group(key, fields)
		if err != nil {
			return err
		}
		if err := f.ranked(g); err != nil {
			return err
		}
		f.groups[identify(g.key)] = g
		f.size += g.size()
	}
	for i, r := range f.remember {
		entries, err := f.of.remember[i].entries(s.Remembered)
		if err != nil {
			return err
		}
		for _, e := range entries {
			f.size += r.add(e)
		}
	}
	return nil
}

// group reads a group.
func (d *declaration) group(key string, fields map[string]any) (*group, error) {
	g := &group{key: make([]any, len(d.key)), values: make([]any, len(d.fold))}
	var values []any
	if err := readJSON([]byte(key), &values); err != nil {
		return nil, fmt.Errorf("read the key %s: %w", quote(key), err)
	}
	if len(values) != len(d.key) || len(fields) != len(d.fold) {
		return nil, fmt.Errorf("the group %s does not fit the declaration", quote(key))
	}
	var err error
	for i := range d.key {
		if g.key[i], err = typed(values[i], d.key[i].value.shape); err != nil {
			return nil, err
		}
	}
	if string(appendList(nil, g.key)) != key {
		return nil, fmt.Errorf("the key %s is not written as keys are", quote(key))
	}
	for i := range d.fold {
		if g.values[i], err = typed(fields[d.fold[i].name], d.fold[i].then.shape); err != nil {
			return nil, err
		}
	}
	return g, nil
}

// short is the name of something that is kept, within what is remembered.
func (m *memory) short(i int) string { return strings.TrimPrefix(m.keep[i].name, m.name+".") }

// entries reads what is remembered, the oldest first.
func (m *memory) entries(all map[string]map[string]savedEntry) ([]*entry, error) {
	saved, there := all[m.name]
	if !there {
		return nil, fmt.Errorf("there is nothing of %s", m.name)
	}
	entries := make([]*entry, 0, len(saved))
	for under, s := range saved {
		e := &entry{under: under, at: s.At, values: make([]any, len(m.keep))}
		if len(s.Keep) != len(m.keep) {
			return nil, fmt.Errorf("what is remembered under %s does not fit the declaration", quote(under))
		}
		for i := range m.keep {
			var err error
			if e.values[i], err = typed(s.Keep[m.short(i)], m.keep[i].value.shape); err != nil {
				return nil, err
			}
		}
		entries = append(entries, e)
	}
	slices.SortFunc(entries, func(a, b *entry) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.under, b.under)) })
	return entries, nil
}

// typed reads a value as the shape that it was saved as.
func typed(value any, want shape) (any, error) {
	switch v := value.(type) {
	case json.Number:
		if n, err := strconv.Atoi(v.String()); err == nil && want == number {
			return n, nil
		}
	case string:
		if want == text {
			return v, nil
		}
	case bool:
		if want == truth {
			return v, nil
		}
	}
	return nil, fmt.Errorf("there is %v where %s belongs", value, want)
}
