package endpoint

import (
	"math"
	"strconv"
	"strings"
)

// Count is a number of tokens as endpoints report it: as a number, as a text, or not at all. It never fails to be read: an unreadable count is one that
// was not told.
type Count int64

// UnmarshalJSON implements json.Unmarshaler.
func (c *Count) UnmarshalJSON(data []byte) error {
	value, err := strconv.ParseFloat(strings.Trim(string(data), `" `), 64)
	if err == nil && value > 0 && value < math.MaxInt32 {
		*c = Count(value)
	}
	return nil
}
