// Package bus is Watermill on top of a journal.
package bus
