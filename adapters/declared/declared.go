// Package declared builds projections and event filters from expressions: a projection is a YAML file that declares which events it
// folds, how they are grouped, how each event updates its group's fields, and which queries there are. The examples are in
// examples/, docs/extend.md explains the format.
//
// Expressions are those of github.com/expr-lang/expr, less what would make an answer depend on anything but history or take longer
// than reading it (language.go says what, and why). They are checked when a file is loaded: [Parse] knows the kinds of events of
// events.Catalog and the fields of each, from their structs, so that a wrong name or a wrong type is found before the first event
// and is reported with its line.
//
// What a declaration gives is a projections.Spec like any other, and its folds keep the same promises: equal histories give equal
// states, byte by byte. There are no fractions, no clock, and no order but that of keys. What bounds a fold is counted and never
// timed (limits.go): an event that would go over a limit stops the projection as one that cannot be read does.
//
// It is a package of adapters because it knows a file's format; what it makes does no I/O.
package declared
