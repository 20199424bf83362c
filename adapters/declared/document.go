package declared

import "go.yaml.in/yaml/v3"

// words is a text of a declaration, and where it stands.
type words struct {
	place
	text string
}

// named is an expression with a name: a key, a column, a field to remember.
type named struct {
	name string
	text words // the expression
	as   words // how a column is shown; empty: as it is
}

// document is a declaration as it is written.
type document struct {
	name, about words
	version     words
	on          []words
	when        words
	remember    []remembering
	key         []named
	fold        []folding
	keep        keeping
	answer      []querying
}

type remembering struct {
	place
	name        string
	on          []words
	when        words
	under, find words
	keep        []named
	forget      words
}

type folding struct {
	place
	name  string
	start *yaml.Node
	then  words
}

type keeping struct {
	place
	groups words
	by     words
}

type querying struct {
	place
	name    string
	about   words
	takes   []taking
	where   words
	by      []named
	columns []named
	sort    []words
	limit   words
}

type taking struct {
	place
	name                string
	about, as           words
	required, otherwise words
}
