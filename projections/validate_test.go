package projections_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"example.com/life/projections"
)

// TestValidate: the catalogue is sound, and what is missing in a description is said.
func TestValidate(t *testing.T) {
	for i := range projections.Catalog {
		if err := projections.Catalog[i].Validate(); err != nil {
			t.Error(err)
		}
	}
	for want, change := range map[string]func(*projections.Spec){
		`named "Balance"`:           func(s *projections.Spec) { s.Name = "Balance" },
		"has version 0":             func(s *projections.Spec) { s.Version = 0 },
		"folds no kind":             func(s *projections.Spec) { s.Kinds = nil },
		"has no New":                func(s *projections.Spec) { s.New = nil },
		"has no query":              func(s *projections.Spec) { s.Queries = nil },
		`a query named "a/b"`:       func(s *projections.Spec) { s.Queries[0].Name = "a/b" },
		`a query named "all", want`: func(s *projections.Spec) { s.Queries = append(s.Queries, s.Queries[0]) },
		"answers a []string":        func(s *projections.Spec) { s.Queries[0].Answer = []string{} },
		"answers a <nil>":           func(s *projections.Spec) { s.Queries[0].Answer = nil },
		`takes "at": want a name`:   func(s *projections.Spec) { s.Queries[0].Params = []projections.Parameter{{Name: "at"}} },
		`takes "agent": want`: func(s *projections.Spec) {
			s.Queries[0].Params = []projections.Parameter{{Name: "agent"}, {Name: "agent"}}
		},
	} {
		spec := projections.Spec{
			Name: "whole", Version: 1, Kinds: []string{"turn."}, New: func() projections.Fold { return nil },
			Queries: []projections.QuerySpec{{Name: "all", Answer: struct{}{}, Params: []projections.Parameter{{Name: "agent"}}}},
		}
		if err := spec.Validate(); err != nil {
			t.Fatal(err)
		}
		change(&spec)
		if err := spec.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("it is said %v, want %q", err, want)
		}
	}
}

// TestTable: a table whose columns are known at run time is an answer like any other, and can be read by who is told the columns.
func TestTable(t *testing.T) {
	described := projections.QuerySpec{Columns: []projections.Column{
		{Name: "name", As: projections.ColumnText},
		{Name: "n", As: projections.ColumnNumber},
		{Name: "open", As: projections.ColumnTruth},
		{Name: "cost", As: projections.ColumnMoney},
		{Name: "since", As: projections.ColumnTime},
		{Name: "took_us", As: projections.ColumnLength},
	}}
	made := projections.NewTable(described.Columns)
	made.Add([]any{"a", 1 << 60, true, 2_500_000, 5, 7})
	made.Note(projections.TableNotes{LeftOut: 3})
	text, err := json.Marshal(made.Answer())
	if err != nil {
		t.Fatal(err)
	}
	want := `{"left_out":"3","rows":[{"name":"a","n":"1152921504606846976","open":true,"cost":"2500000","since":"5","took_us":"7"}]}`
	if string(text) != want {
		t.Errorf("the table is\n%s\nwant\n%s", text, want)
	}
	told := reflect.New(reflect.TypeOf(described.Empty()))
	if err := json.Unmarshal(text, told.Interface()); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(told.Elem().Interface(), made.Answer()) {
		t.Errorf("who is told the columns reads %v, want %v", told.Elem(), made.Answer())
	}
	empty, err := json.Marshal(described.Empty())
	if err != nil || string(empty) != `{"rows":[]}` {
		t.Errorf("an empty table is %s, %v", empty, err)
	}
}
