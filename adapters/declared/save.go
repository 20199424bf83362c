package declared

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
)

// saved is a fold as it is stored.
type saved struct {
	Declaration string         `json:"declaration"` // the digest of its source
	Groups      [][2][]any     `json:"groups"`      // key and values, in the order of keys
	Remembered  [][]savedEntry `json:"remembered"`  // by part of remember, the oldest first
	Unmatched   int64          `json:"unmatched"`
	Dropped     int64          `json:"dropped"`
}

type savedEntry struct {
	Under  string `json:"under"`
	Values []any  `json:"values"`
}

// Save implements projections.Fold.
func (f *fold) Save() ([]byte, error) {
	s := saved{
		Declaration: f.of.digest, Groups: make([][2][]any, 0, len(f.groups)), Remembered: make([][]savedEntry, len(f.remember)),
		Unmatched: f.unmatched, Dropped: f.dropped,
	}
	for _, g := range f.sorted() {
		s.Groups = append(s.Groups, [2][]any{g.key, g.values})
	}
	for i, r := range f.remember {
		s.Remembered[i] = make([]savedEntry, 0, len(r.entries))
		for _, e := range r.live() {
			s.Remembered[i] = append(s.Remembered[i], savedEntry{e.under, e.values})
		}
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(&s); err != nil {
		return nil, fmt.Errorf("save the state: %w", err)
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
}

// Restore implements projections.Fold.
func (f *fold) Restore(state []byte) error {
	decoder := json.NewDecoder(bytes.NewReader(state))
	decoder.UseNumber()
	decoder.DisallowUnknownFields()
	var s saved
	if err := decoder.Decode(&s); err != nil {
		return fmt.Errorf("restore the saved state: %w", err)
	}
	if s.Declaration != f.of.digest {
		return errors.New("restore the saved state: another declaration saved it")
	}
	restored := newFold(f.of)
	if err := restored.take(&s); err != nil {
		return fmt.Errorf("restore the saved state: %w", err)
	}
	*f = *restored
	return nil
}

// take takes over what was saved, which has the shapes of the declaration and its limits.
func (f *fold) take(s *saved) error {
	if len(s.Remembered) != len(f.remember) || s.Unmatched < 0 || s.Dropped < 0 {
		return errors.New("it does not fit the declaration")
	}
	f.unmatched, f.dropped = s.Unmatched, s.Dropped
	for _, pair := range s.Groups {
		g := &group{}
		var err error
		if g.key, err = typed(pair[0], len(f.of.key), func(i int) shape { return f.of.key[i].value.shape }); err != nil {
			return err
		}
		if g.values, err = typed(pair[1], len(f.of.fold), func(i int) shape { return f.of.fold[i].then.shape }); err != nil {
			return err
		}
		if err := f.ranked(g); err != nil {
			return err
		}
		id := identify(g.key)
		if f.groups[id] != nil {
			return fmt.Errorf("the group %v is there twice", g.key)
		}
		f.groups[id] = g
		f.size += g.size()
	}
	for i, entries := range s.Remembered {
		keep := f.of.remember[i].keep
		for _, e := range entries {
			values, err := typed(e.Values, len(keep), func(j int) shape { return keep[j].value.shape })
			if err != nil {
				return err
			}
			f.size += f.remember[i].add(&entry{under: e.Under, values: values})
		}
	}
	return nil
}

// typed reads values as the shapes that they were saved as.
func typed(values []any, count int, of func(int) shape) ([]any, error) {
	if len(values) != count {
		return nil, fmt.Errorf("there are %d values, want %d", len(values), count)
	}
	read := make([]any, count)
	for i, value := range values {
		var err error
		if digits, is := value.(json.Number); is {
			if value, err = strconv.Atoi(digits.String()); err != nil {
				return nil, fmt.Errorf("read number %q: %w", digits, err)
			}
		}
		switch value.(type) {
		case int:
			is := of(i) == number
			if !is {
				err = errors.New("there is a number where none belongs")
			}
		case string:
			if of(i) != text {
				err = errors.New("there is a text where none belongs")
			}
		case bool:
			if of(i) != truth {
				err = errors.New("there is true or false where neither belongs")
			}
		default:
			err = errors.New("there is a value that cannot be kept")
		}
		if err != nil {
			return nil, err
		}
		read[i] = value
	}
	return read, nil
}
