package declared

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math/bits"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/expr-lang/expr"
)

// function is what expressions can call besides the builtins of expr that are listed in language.go.
type function struct {
	name  string
	about string // what it gives, for the documentation; empty: an operator, which is not called by name
	call  func(...any) (any, error)
	types []any
}

// functions lists them; value is called with the meter (meter.go). The operators are here because those of expr go over the edge of 64 bits without a word, and divide into
// fractions.
func functions() []function {
	whole := []any{new(func(int, int) int)}
	return []function{
		{name: "+", call: plus, types: []any{new(func(int, int) int), new(func(string, string) string)}},
		{name: "-", call: wholes(minus), types: whole},
		{name: "*", call: wholes(times), types: whole},
		{name: "/", call: wholes(over), types: whole},
		{name: "%", call: wholes(rest), types: whole},
		{"hour", "the hour of a time in UTC, as 2026-01-31T14", moment("2006-01-02T15"), []any{new(func(int) string)}},
		{"day", "the day of a time in UTC, as 2026-01-31", moment("2006-01-02"), []any{new(func(int) string)}},
		{"month", "the month of a time in UTC, as 2026-01", moment("2006-01"), []any{new(func(int) string)}},
		{"week", "the week of a time by ISO 8601 in UTC, as 2026-W05", week, []any{new(func(int) string)}},
		{"percent", "what part the first number is of the second, as 12.5%; of nothing it is empty", percent, []any{new(func(int, int) string)}},
		{"int", "1 for true and 0 for false; of a text the number that it is", counted, []any{new(func(bool) int), new(func(string) int)}},
		{"string", "a number, or true or false, as text", written, []any{new(func(int) string), new(func(bool) string)}},
		{"min", "the lesser of two numbers or texts", least, []any{new(func(int, int) int), new(func(string, string) string)}},
		{"max", "the greater of two numbers or texts", greatest, []any{new(func(int, int) int), new(func(string, string) string)}},
		{"first", "the first text of a list; empty if there is none", firstOf, []any{new(func([]any) string)}},
		{"cut", "the first so many characters of a text", cut, []any{new(func(string, int) string)}},
		{"value", "a value of a JSON text by its path, as value(arguments, \"path\"); empty if it is not there", nil, []any{new(func(string, string) string)}},
	}
}

// options hands the functions to expr.
func options() []expr.Option {
	var all []expr.Option
	for _, f := range slices.Concat(functions(), metered()) {
		all = append(all, expr.Function(f.name, f.call, f.types...))
	}
	return all
}

var errTooLarge = errors.New("the number does not fit into 64 bits")

// operands are the two numbers of an operator. That they are numbers was checked when the expression was compiled.
func operands(params []any) (a, b int, err error) {
	a, isA := params[0].(int)
	b, isB := params[1].(int)
	if !isA || !isB {
		return 0, 0, fmt.Errorf("want two numbers, not %s and %s", shapeOf(reflect.TypeOf(params[0])), shapeOf(reflect.TypeOf(params[1])))
	}
	return a, b, nil
}

func wholes(op func(a, b int) (int, error)) func(...any) (any, error) {
	return func(params ...any) (any, error) {
		a, b, err := operands(params)
		if err != nil {
			return nil, err
		}
		return op(a, b)
	}
}

func plus(params ...any) (any, error) {
	if a, is := params[0].(string); is {
		b, is := params[1].(string)
		switch {
		case !is:
			return nil, errors.New("want two texts")
		case len(a)+len(b) > maxMade:
			return nil, fmt.Errorf("the text has %d bytes, an expression can make %d", len(a)+len(b), maxMade)
		}
		return a + b, nil
	}
	a, b, err := operands(params)
	if err != nil {
		return nil, err
	}
	sum := a + b
	if (sum > a) != (b > 0) && b != 0 {
		return nil, errTooLarge
	}
	return sum, nil
}

func minus(a, b int) (int, error) {
	difference := a - b
	if (difference < a) != (b > 0) && b != 0 {
		return 0, errTooLarge
	}
	return difference, nil
}

func times(a, b int) (int, error) {
	high, low := bits.Mul64(magnitude(a), magnitude(b))
	negative := (a < 0) != (b < 0)
	switch {
	case high > 0 || low > 1<<63 || low == 1<<63 && !negative:
		return 0, errTooLarge
	case negative:
		return int(-low), nil //nolint:gosec // two's complement, within 64 bits as checked
	}
	return int(low), nil //nolint:gosec // below 1<<63, as checked
}

// magnitude is the number without its sign.
func magnitude(n int) uint64 {
	if n < 0 {
		return -uint64(n) //nolint:gosec // two's complement
	}
	return uint64(n)
}

// over divides whole numbers, and drops what remains.
func over(a, b int) (int, error) {
	switch b {
	case 0:
		return 0, errors.New("division by zero; ask first, as in n == 0 ? 0 : sum / n")
	case -1:
		return minus(0, a)
	}
	return a / b, nil
}

func rest(a, b int) (int, error) {
	switch b {
	case 0:
		return 0, errors.New("the rest of a division by zero; ask first, as in n == 0 ? 0 : sum % n")
	case -1:
		return 0, nil
	}
	return a % b, nil
}

// moment writes a time in microseconds.
func moment(layout string) func(...any) (any, error) {
	return func(params ...any) (any, error) {
		at, err := instant(params[0])
		if err != nil {
			return nil, err
		}
		return at.Format(layout), nil
	}
}

func week(params ...any) (any, error) {
	at, err := instant(params[0])
	if err != nil {
		return nil, err
	}
	year, number := at.ISOWeek()
	return fmt.Sprintf("%04d-W%02d", year, number), nil
}

// instant is a time in microseconds since 1970, of the years 1 to 9999.
func instant(param any) (time.Time, error) {
	micros, _ := param.(int) //nolint:errcheck // its type was checked when the expression was compiled
	at := time.UnixMicro(int64(micros)).UTC()
	if at.Year() < 1 || at.Year() > 9999 {
		return at, fmt.Errorf("%d is no time in microseconds since 1970", micros)
	}
	return at, nil
}

// percent writes tenths of a per cent, rounded to the nearest.
func percent(params ...any) (any, error) {
	part, whole, err := operands(params)
	if err != nil {
		return nil, err
	}
	if whole == 0 {
		return "", nil
	}
	sign := ""
	if (part < 0) != (whole < 0) && part != 0 {
		sign = "-"
	}
	p, w := magnitude(part), magnitude(whole)
	high, low := bits.Mul64(1000, p)
	low, carry := bits.Add64(low, w/2, 0)
	if high += carry; high >= w {
		return nil, errTooLarge
	}
	tenths, _ := bits.Div64(high, low, w)
	return fmt.Sprintf("%s%d.%d%%", sign, tenths/10, tenths%10), nil
}

func least(params ...any) (any, error)    { return pick(params, -1) }
func greatest(params ...any) (any, error) { return pick(params, 1) }

// pick chooses the first of two values if it compares to the second as is wanted, else the second.
func pick(params []any, want int) (any, error) {
	if a, is := params[0].(string); is {
		b, is := params[1].(string)
		if !is {
			return nil, errors.New("want two texts")
		}
		return params[chosen(strings.Compare(a, b) == want)], nil
	}
	a, b, err := operands(params)
	if err != nil {
		return nil, err
	}
	return params[chosen(cmp.Compare(a, b) == want)], nil
}

func chosen(first bool) int {
	if first {
		return 0
	}
	return 1
}

func firstOf(params ...any) (any, error) {
	texts, _ := params[0].([]string) //nolint:errcheck // lists of something else have no text
	if len(texts) == 0 {
		return "", nil
	}
	return texts[0], nil
}

func counted(params ...any) (any, error) {
	switch of := params[0].(type) {
	case bool:
		if of {
			return 1, nil
		}
	case string:
		n, err := strconv.Atoi(of)
		if err != nil {
			return nil, fmt.Errorf("%s is no whole number", quote(of))
		}
		return n, nil
	}
	return 0, nil
}

func written(params ...any) (any, error) { return fmt.Sprint(params[0]), nil }

func cut(params ...any) (any, error) {
	from, _ := params[0].(string) //nolint:errcheck // its type was checked when the expression was compiled
	most, _ := params[1].(int)    //nolint:errcheck // so was this one
	for at := range from {
		if most <= 0 {
			return from[:at], nil
		}
		most--
	}
	return from, nil
}

// value finds a value in a JSON text: in objects by name, in lists by number. Texts are given as they are, all else as JSON.
func value(m *meter, source, path string) (string, error) {
	rest := json.RawMessage(source)
	for name := range strings.SplitSeq(path, ".") {
		if err := m.take(1 + 2*len(rest)); err != nil {
			return "", err
		}
		if rest = member(rest, name); rest == nil {
			return "", nil
		}
	}
	var plain string
	if err := json.Unmarshal(rest, &plain); err == nil {
		return plain, nil
	}
	if !utf8.Valid(rest) {
		return "", nil
	}
	return string(rest), nil
}

func member(of json.RawMessage, name string) json.RawMessage {
	var object map[string]json.RawMessage
	if err := json.Unmarshal(of, &object); err == nil {
		return object[name]
	}
	var all []json.RawMessage
	if err := json.Unmarshal(of, &all); err != nil {
		return nil
	}
	if i, err := strconv.Atoi(name); err == nil && i >= 0 && i < len(all) {
		return all[i]
	}
	return nil
}
