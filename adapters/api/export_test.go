package api

import (
	"maps"
	"slices"
)

// Routes lists the patterns of all routes.
func Routes() []string { return slices.Sorted(maps.Keys((&server{}).routes())) }
