//go:build !linux

package membership

import "time"

var began = time.Now() //nolint:gochecknoglobals // what the time is counted from

// sinceBoot counts from the start of the process.
func sinceBoot() time.Duration { return time.Since(began) }
