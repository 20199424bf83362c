package transfer

import (
	"bytes"
	"encoding/json"
	"strconv"
	"unicode/utf8"
)

// plainDepth is how deep JSON may be nested so that every reader takes it: some give up at a hundred and some levels.
const plainDepth = 100

// plain reports whether JSON data can stand in a line as they are: a line is read byte for byte by Life, and by every other reader of JSON at all.
// encoding/json takes what others refuse: bytes that are not UTF-8, halves of surrogate pairs, numbers that no float64 holds, any depth.
func plain(data json.RawMessage, scratch *bytes.Buffer) (bool, error) {
	scratch.Reset()
	if err := json.Compact(scratch, data); err != nil {
		return false, err
	}
	return scratch.Len() == len(data) && utf8.Valid(data) && everyReaderTakes(data), nil
}

func everyReaderTakes(data []byte) bool {
	depth := 0
	for i := 0; i < len(data); {
		switch c := data[i]; {
		case c == '"':
			end, ok := stringEnd(data, i+1)
			if !ok {
				return false
			}
			i = end
			continue
		case c == '{' || c == '[':
			if depth++; depth > plainDepth {
				return false
			}
		case c == '}' || c == ']':
			depth--
		case c == '-' || '0' <= c && c <= '9':
			end := i + 1
			for end < len(data) && bytes.IndexByte([]byte("0123456789+-.eE"), data[end]) >= 0 {
				end++
			}
			if _, err := strconv.ParseFloat(string(data[i:end]), 64); err != nil {
				return false
			}
			i = end
			continue
		}
		i++
	}
	return true
}

// stringEnd returns where a string of valid JSON ends; false if it has half a surrogate pair.
func stringEnd(data []byte, i int) (end int, ok bool) {
	for data[i] != '"' {
		if data[i] != '\\' {
			i++
			continue
		}
		if data[i+1] != 'u' {
			i += 2
			continue
		}
		unit := codeUnit(data[i:])
		i += 6
		switch {
		case unit < 0xd800 || unit > 0xdfff:
		case unit < 0xdc00 && bytes.HasPrefix(data[i:], []byte(`\u`)) && codeUnit(data[i:])&0xfc00 == 0xdc00:
			i += 6
		default:
			return 0, false
		}
	}
	return i + 1, true
}

// codeUnit reads \uXXXX, of valid JSON.
func codeUnit(escape []byte) uint64 {
	unit, _ := strconv.ParseUint(string(escape[2:6]), 16, 16) //nolint:errcheck // four hex digits, as the JSON is valid
	return unit
}
