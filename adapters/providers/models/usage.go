package models

import "example.com/life/events"

func written(*events.Usage) int64     { return 0 }
func writtenLong(*events.Usage) int64 { return 0 }
