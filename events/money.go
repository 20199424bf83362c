package events

import (
	"fmt"
	"strconv"
	"strings"
)

// Money is an amount in micro-dollars (1 USD = 1,000,000). It is an integer so that sums are exact; JSON carries it as a string.
type Money int64

// Dollar is one US dollar.
const Dollar Money = 1_000_000

// String writes dollars with as many decimals as the amount needs, at least two: "$1.50", "$0.000012", "-$3.00".
func (m Money) String() string {
	sign, abs := "", uint64(m)
	if m < 0 {
		sign, abs = "-", uint64(-(m+1))+1
	}
	decimals := fmt.Sprintf("%06d", abs%uint64(Dollar))
	for len(decimals) > 2 && strings.HasSuffix(decimals, "0") {
		decimals = decimals[:len(decimals)-1]
	}
	return sign + "$" + strconv.FormatUint(abs/uint64(Dollar), 10) + "." + decimals
}

// ParseMoney reads dollars as people write them: "5", "0.25", "$1.000001". More than six decimals is an error, not a rounding.
func ParseMoney(text string) (Money, error) {
	digits := strings.TrimPrefix(strings.TrimSpace(text), "$")
	whole, decimals, _ := strings.Cut(digits, ".")
	if whole == "" || len(decimals) > 6 || strings.ContainsAny(digits, "+-") {
		return 0, fmt.Errorf("amount %q is not dollars with at most six decimals, such as 1.50", Clip(text, 40))
	}
	dollars, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || dollars > int64(1<<63-1)/int64(Dollar)-1 {
		return 0, fmt.Errorf("amount %q is not dollars with at most six decimals, such as 1.50", Clip(text, 40))
	}
	micros := int64(0)
	if decimals != "" {
		micros, err = strconv.ParseInt((decimals + "000000")[:6], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("amount %q is not dollars with at most six decimals, such as 1.50", Clip(text, 40))
		}
	}
	return Money(dollars)*Dollar + Money(micros), nil
}
