package projections

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"example.com/life/events"
)

// column is what rows of a table are counted by. Name and Detail are whatever else the table counts by: a model, a tool.
type column struct {
	Day    Day             `json:"day"`
	Agent  events.AgentID  `json:"agent,omitempty"`
	Wallet events.WalletID `json:"wallet,omitempty"`
	Name   string          `json:"name,omitempty"`
	Detail string          `json:"detail,omitempty"`
}

func (c column) compare(d column) int {
	return cmp.Or(cmp.Compare(c.Day, d.Day), cmp.Compare(c.Agent, d.Agent), cmp.Compare(c.Wallet, d.Wallet),
		cmp.Compare(c.Name, d.Name), cmp.Compare(c.Detail, d.Detail))
}

// day returns the row's day when a query counts by days.
func (c column) day(q Query, standard string) *Day {
	if !slices.Contains(q.columns(standard), "day") {
		return nil
	}
	return &c.Day
}

// table counts by columns. It is saved as a list of rows in order.
type table[C any] map[column]*C

type tableRow[C any] struct {
	column
	Count *C `json:"count"`
}

func (t table[C]) row(c column) *C { return entry(t, c) }

// rows lists the columns in order.
func (t table[C]) rows() []column { return slices.SortedFunc(maps.Keys(t), column.compare) }

// MarshalJSON writes the rows in order.
func (t table[C]) MarshalJSON() ([]byte, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	separator := byte('[')
	for _, c := range t.rows() {
		out.WriteByte(separator)
		separator = ','
		if err := encoder.Encode(tableRow[C]{c, t[c]}); err != nil {
			return nil, err
		}
	}
	if separator == '[' {
		out.WriteByte('[')
	}
	out.WriteByte(']')
	return out.Bytes(), nil
}

// UnmarshalJSON reads what MarshalJSON writes.
func (t *table[C]) UnmarshalJSON(data []byte) error {
	var rows []tableRow[C]
	if err := json.Unmarshal(data, &rows); err != nil {
		return err
	}
	*t = make(table[C], len(rows))
	for _, row := range rows {
		if row.Count == nil {
			return fmt.Errorf("row %v counts nothing", row.column)
		}
		(*t)[row.column] = row.Count
	}
	return nil
}

// group counts again by fewer columns: those that a query asks for, of the rows that it chooses. name is what the column Name is
// called there.
func group[C any](t table[C], q Query, name string, add func(sum, more *C)) table[C] {
	from, to := q.days()
	columns := q.columns(name)
	grouped := table[C]{}
	for c, count := range t {
		if c.Day < from || c.Day > to || !matches(q.Parameters["agent"], c.Agent) || !matches(q.Parameters["wallet"], c.Wallet) ||
			!matches(q.Parameters[name], c.Name) {
			continue
		}
		add(grouped.row(c.only(columns, name)), count)
	}
	return grouped
}

// only keeps the columns that are asked for.
func (c column) only(columns []string, name string) column {
	kept := column{}
	for _, by := range columns {
		switch by {
		case "day":
			kept.Day = c.Day
		case "agent":
			kept.Agent = c.Agent
		case "wallet":
			kept.Wallet = c.Wallet
		case name:
			kept.Name = c.Name
		case "detail":
			kept.Detail = c.Detail
		}
	}
	return kept
}
