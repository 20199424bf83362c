package cmd

import (
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"time"

	"example.com/life/events"
)

// The answer of a projection is a struct. It is shown by its shape alone, so that a new projection can be asked without a word
// here: single values first, one a line, then a table for each list. Money is shown in dollars, times as people read them, and
// lengths of time, whose names in JSON end in _us, as lengths. Fields that may be left out of the JSON are left out of a table
// when they are empty in all of its rows.

// cell is a value of an answer, with its name in JSON.
type cell struct {
	name     string
	value    reflect.Value
	optional bool
}

// showAnswer prints an answer.
func showAnswer(out io.Writer, answer reflect.Value) error {
	var lists []cell
	single := table(out)
	for _, c := range cells("", answer) {
		switch {
		case c.value.Kind() == reflect.Slice:
			lists = append(lists, c)
		case !c.optional || !c.value.IsZero():
			fmt.Fprintf(single, "%s\t%s\n", strings.TrimSuffix(c.name, "_us"), show(c))
		}
	}
	if err := single.Flush(); err != nil {
		return err
	}
	for _, list := range lists {
		if err := showList(out, list, len(lists) > 1); err != nil {
			return err
		}
	}
	return nil
}

// showList prints a list of structs as a table, under its name where there are several.
func showList(out io.Writer, list cell, named bool) error {
	if list.value.Len() == 0 {
		fmt.Fprintf(out, "no %s\n", list.name)
		return nil
	}
	if named {
		fmt.Fprintf(out, "%s:\n", list.name)
	}
	rows := make([][]cell, list.value.Len())
	for i := range rows {
		rows[i] = cells("", list.value.Index(i))
	}
	w := table(out)
	line := func(text func(column int) string) {
		var shown []string
		for i, head := range rows[0] {
			if !head.optional || slices.ContainsFunc(rows, func(row []cell) bool { return !row[i].value.IsZero() }) {
				shown = append(shown, text(i))
			}
		}
		fmt.Fprintln(w, strings.TrimRight(strings.Join(shown, "\t"), "\t"))
	}
	line(func(i int) string { return strings.TrimSuffix(rows[0][i].name, "_us") })
	for _, row := range rows {
		line(func(i int) string { return show(row[i]) })
	}
	return w.Flush()
}

// cells lists the fields of a struct, those of structs in it among them.
func cells(prefix string, of reflect.Value) []cell {
	var all []cell
	for i := range of.NumField() {
		field := of.Type().Field(i)
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		value, optional := of.Field(i), strings.Contains(options, "omitempty")
		if value.Kind() == reflect.Struct {
			under := prefix
			if !field.Anonymous {
				under += name + " "
			}
			all = append(all, cells(under, value)...)
			continue
		}
		all = append(all, cell{prefix + name, value, optional})
	}
	return all
}

// show writes one value.
func show(c cell) string {
	if c.value.Kind() == reflect.Pointer {
		if c.value.IsNil() {
			return ""
		}
		c.value = c.value.Elem()
	}
	if c.value.Kind() == reflect.Slice {
		parts := make([]string, c.value.Len())
		for i := range parts {
			parts[i] = show(cell{value: c.value.Index(i)})
		}
		return strings.Join(parts, ", ")
	}
	switch value := c.value.Interface().(type) {
	case events.Micros:
		if strings.HasSuffix(c.name, "_us") {
			return (time.Duration(value) * time.Microsecond).String()
		}
		return clock(value)
	default:
		return events.VisibleLine(strings.ReplaceAll(fmt.Sprint(value), "\n", " "))
	}
}
