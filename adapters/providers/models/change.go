package models

import (
	"maps"
	"reflect"
	"slices"
)

// Change is how what is known of a model differs between two tables. Before or After is nil where the model is in one of them only.
type Change struct {
	Model  string `json:"model"`
	Before *Model `json:"before,omitempty"`
	After  *Model `json:"after,omitempty"`
}

// Changes lists what differs between two tables, sorted by name. Where and when something was read is no difference.
func Changes(before, after *Table) []Change {
	names := slices.Concat(before.Names(), after.Names())
	slices.Sort(names)
	var changes []Change
	for _, name := range slices.Compact(names) {
		was, knew := before.models[name]
		is, knows := after.models[name]
		if knew && knows && reflect.DeepEqual(was.bare(), is.bare()) {
			continue
		}
		change := Change{Model: name}
		if knew {
			change.Before = &was
		}
		if knows {
			change.After = &is
		}
		changes = append(changes, change)
	}
	return changes
}

// bare is the model without where its price is from.
func (m Model) bare() Model {
	if m.Price != nil {
		price := *m.Price
		price.AsOf, price.Source, price.Origin = "", "", ""
		m.Price = &price
	}
	return m
}

// With returns the table as it would be with a file laid over it, but below what a person's own file says: how many entries that keeps
// from having an effect is told.
func With(data, own string, replaced string, file *File) (*Table, []string, error) {
	table, err := load(data, own, replaced, file)
	if err != nil {
		return nil, nil, err
	}
	var hidden []string
	for _, name := range slices.Sorted(maps.Keys(file.Models)) {
		if price := table.models[name].Price; price != nil && own != "" && price.Origin == own {
			hidden = append(hidden, name)
		}
	}
	return table, hidden, nil
}
