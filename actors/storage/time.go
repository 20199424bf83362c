package storage

import (
	"time"

	"example.com/life/events"
)

// Now is the time of this machine's clock as events carry it.
func Now() events.Micros { return events.Micros(time.Now().UnixMicro()) }
