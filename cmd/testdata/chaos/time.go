// Package storage: TestChaos builds life with this file in place of actors/storage/time.go, so that the time of all decisions can be set from outside.
package storage

import (
	"encoding/binary"
	"os"
	"time"

	"example.com/life/events"
)

// offset is the file that says how far the clock is off, in microseconds; nil: it is right. It stays open: there may be no descriptor left.
var offset = func() *os.File {
	file, err := os.Open(os.Getenv("LIFE_CHAOS_CLOCK"))
	if err != nil {
		return nil
	}
	return file
}()

// Now is the time of this machine's clock, and what TestChaos adds to it.
func Now() events.Micros {
	now := events.Micros(time.Now().UnixMicro())
	var off [8]byte
	if _, err := offset.ReadAt(off[:], 0); err == nil {
		now += events.Micros(binary.LittleEndian.Uint64(off[:]))
	}
	return now
}
