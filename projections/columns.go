package projections

import (
	"fmt"
	"reflect"

	"example.com/life/events"
)

// Column is one column of an answer that is a table: what a projection answers whose answers are described as data and not as a Go
// type, so that they can be read by a program that has only been told the description.
type Column struct {
	Name string   `json:"name"` // in JSON
	As   ColumnAs `json:"as"`
}

// ColumnAs says what the values of a column are.
type ColumnAs string

// What columns can hold.
const (
	ColumnText   ColumnAs = "text"
	ColumnNumber ColumnAs = "number" // whole, 64 bits
	ColumnTruth  ColumnAs = "truth"  // true or false
	ColumnMoney  ColumnAs = "money"  // micro-dollars
	ColumnTime   ColumnAs = "time"   // microseconds since 1970
	ColumnLength ColumnAs = "length" // a length of time in microseconds; the name ends in _us
)

// TableNotes says what a table does not show.
type TableNotes struct {
	LeftOut   int64 `json:"left_out,string,omitempty"`  // rows beyond the limit
	Unmatched int64 `json:"unmatched,string,omitempty"` // events that were not counted, because the earlier event that they belong to is not known
	Dropped   int64 `json:"dropped,string,omitempty"`   // groups that gave way to others
}

// Table is an answer whose columns are known only when the program runs.
type Table struct {
	answer reflect.Value // a struct with TableNotes and Rows
}

// NewTable returns an empty table.
func NewTable(columns []Column) *Table {
	row := make([]reflect.StructField, len(columns))
	for i, c := range columns {
		row[i] = reflect.StructField{Name: fmt.Sprintf("Column%d", i), Type: c.As.goType(), Tag: c.tag()}
	}
	rows := reflect.SliceOf(reflect.StructOf(row))
	t := &Table{answer: reflect.New(reflect.StructOf([]reflect.StructField{
		{Name: "TableNotes", Type: reflect.TypeFor[TableNotes](), Anonymous: true},
		{Name: "Rows", Type: rows, Tag: `json:"rows"`},
	})).Elem()}
	t.rows().Set(reflect.MakeSlice(rows, 0, 0))
	return t
}

// goType is what shows such values as they should be.
func (as ColumnAs) goType() reflect.Type {
	switch as {
	case ColumnNumber:
		return reflect.TypeFor[int64]()
	case ColumnTruth:
		return reflect.TypeFor[bool]()
	case ColumnMoney:
		return reflect.TypeFor[events.Money]()
	case ColumnTime, ColumnLength:
		return reflect.TypeFor[events.Micros]()
	case ColumnText:
	}
	return reflect.TypeFor[string]()
}

func (c Column) tag() reflect.StructTag {
	name := c.Name
	if c.As.goType().Kind() == reflect.Int64 {
		name += ",string"
	}
	return reflect.StructTag(fmt.Sprintf("json:%q", name))
}

func (t *Table) rows() reflect.Value { return t.answer.FieldByName("Rows") }

// Add adds a row: a value for each column, which is a string, a bool or an int.
func (t *Table) Add(values []any) {
	rows := t.rows()
	row := reflect.New(rows.Type().Elem()).Elem()
	for i, value := range values {
		row.Field(i).Set(reflect.ValueOf(value).Convert(row.Field(i).Type()))
	}
	rows.Set(reflect.Append(rows, row))
}

// Note says what the table does not show.
func (t *Table) Note(notes TableNotes) {
	t.answer.FieldByName("TableNotes").Set(reflect.ValueOf(notes))
}

// Answer returns the table as Fold.Answer does: a struct.
func (t *Table) Answer() any { return t.answer.Interface() }

// Empty returns an empty answer of the query, from its columns where it has no type: a program that was told of the query by another
// knows only those.
func (s *QuerySpec) Empty() any {
	if s.Answer == nil {
		return NewTable(s.Columns).Answer()
	}
	return s.Answer
}
