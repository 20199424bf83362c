// Package declared makes projections, and filters of events, out of expressions.
package declared
