package api

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// bodyTime is how long a client may take to send a body.
const bodyTime = time.Minute

// decode reads a request's body into a struct. No body means no fields. The errors are problems that name what is wrong.
func decode(w http.ResponseWriter, r *http.Request, limit int64, into any) error {
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(bodyTime)) //nolint:errcheck // where deadlines are not known, none is set
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	_ = control.SetReadDeadline(time.Time{}) //nolint:errcheck // as above
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return problem(codeTooLarge, "the body has more than %d bytes", tooLarge.Limit)
	case err != nil:
		return problem(codeMalformed, "the body could not be read to its end")
	case len(raw) == 0:
		return nil
	}
	media, parameters, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	charset := parameters["charset"]
	if err != nil || media != "application/json" || charset != "" && !strings.EqualFold(charset, "utf-8") {
		return problem(codeMedia, "the Content-Type is %q, want application/json", clip(r.Header.Get("Content-Type")))
	}
	return decodeJSON(raw, into)
}

// decodeJSON reads JSON into a struct, strictly. encoding/json alone would take fields in any case, twice, or as null.
func decodeJSON(raw []byte, into any) error {
	if !utf8.Valid(raw) {
		return problem(codeMalformed, "the body is not valid UTF-8")
	}
	if !json.Valid(raw) { // it bounds the depth too, and does not recurse
		var syntax *json.SyntaxError
		if errors.As(json.Unmarshal(raw, &struct{}{}), &syntax) {
			return problem(codeMalformed, "the body is not one JSON object: %s, at byte %d", syntax.Error(), syntax.Offset)
		}
		return problem(codeMalformed, "the body is not one JSON object")
	}
	s := shape{json.NewDecoder(bytes.NewReader(raw))}
	s.decoder.UseNumber()
	if err := s.value(reflect.TypeOf(into).Elem(), "", ""); err != nil {
		return err
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return problem(codeMalformed, "the body does not fit: %s", strings.TrimPrefix(err.Error(), "json: "))
	}
	return nil
}

// shape holds JSON to a Go type, token by token, and names the path of what does not fit. It goes no deeper than the type does.
type shape struct{ decoder *json.Decoder }

// next is the next token of JSON that is known to be valid.
func (s shape) next() json.Token {
	token, err := s.decoder.Token()
	if err != nil { // not in valid JSON
		return nil
	}
	return token
}

// value checks one value; tag is the json tag of the field that holds it.
func (s shape) value(t reflect.Type, path, tag string) error {
	token := s.next()
	misfit := func(want string) error {
		return problem(codeMalformed, "%s is %s, want %s", nameOf(path), kindOf(token), want)
	}
	if t.Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) || reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
		if _, ok := token.(string); !ok {
			return misfit("a string")
		}
		return nil
	}
	switch t.Kind() {
	case reflect.Struct:
		if token != json.Delim('{') {
			return misfit("an object")
		}
		return s.fields(t, path)
	case reflect.Slice:
		if token != json.Delim('[') {
			return misfit("an array")
		}
		return s.elements(t.Elem(), path)
	case reflect.String:
		if _, ok := token.(string); !ok {
			return misfit("a string")
		}
	case reflect.Int, reflect.Int64:
		if strings.HasSuffix(tag, ",string") || strings.Contains(tag, ",string,") {
			text, ok := token.(string)
			if !ok {
				return misfit(`a string: 64-bit numbers are strings, such as "1500000"`)
			}
			return number(path, text)
		}
		plain, ok := token.(json.Number)
		if !ok {
			return misfit("a whole number")
		}
		return number(path, plain.String())
	default:
		return misfit("a field of another kind") // no body has one
	}
	return nil
}

func (s shape) fields(t reflect.Type, path string) error {
	var seen []string
	for s.decoder.More() {
		name, _ := s.next().(string) //nolint:errcheck // in valid JSON a key is a string
		at := strings.TrimPrefix(path+"."+name, ".")
		field, found := fieldNamed(t, name)
		switch {
		case !found:
			return problem(codeMalformed, "there is no field %q; the fields are: %s", clip(at), strings.Join(fieldNames(t), ", "))
		case slices.Contains(seen, name):
			return problem(codeMalformed, "field %q is there twice", at)
		}
		seen = append(seen, name)
		if err := s.value(field.Type, at, field.Tag.Get("json")); err != nil {
			return err
		}
	}
	s.next() // }
	return nil
}

func (s shape) elements(t reflect.Type, path string) error {
	for i := 0; s.decoder.More(); i++ {
		if err := s.value(t, path+"["+strconv.Itoa(i)+"]", ""); err != nil {
			return err
		}
	}
	s.next() // ]
	return nil
}

func fieldNamed(t reflect.Type, name string) (reflect.StructField, bool) {
	for i := range t.NumField() {
		if tagged, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ","); tagged == name {
			return t.Field(i), true
		}
	}
	return reflect.StructField{}, false
}

func fieldNames(t reflect.Type) []string {
	names := make([]string, t.NumField())
	for i := range names {
		names[i], _, _ = strings.Cut(t.Field(i).Tag.Get("json"), ",")
	}
	return names
}

func number(path, text string) error {
	if n, err := strconv.ParseInt(text, 10, 64); err != nil || strconv.FormatInt(n, 10) != text {
		return problem(codeMalformed, "%s is %q, want a whole number of at most 64 bits, written plainly", nameOf(path), clip(text))
	}
	return nil
}

func nameOf(path string) string {
	if path == "" {
		return "the body"
	}
	return "field " + strconv.Quote(path)
}

func kindOf(token json.Token) string {
	switch t := token.(type) {
	case string:
		return "a string"
	case json.Number:
		return "a number"
	case bool:
		return "a boolean"
	case json.Delim:
		if t == '[' {
			return "an array"
		}
		return "an object"
	}
	return "null (leave the field out instead)"
}

// query is a request's query parameters; all of them are known and there once.
type query url.Values

func readQuery(r *http.Request, known ...string) (query, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, problem(codeMalformed, "the query cannot be read: %s", clip(err.Error()))
	}
	for name, given := range values {
		switch {
		case len(known) == 0:
			return nil, problem(codeMalformed, "this path takes no query parameters, but there is %q", clip(name))
		case !slices.Contains(known, name):
			return nil, problem(codeMalformed, "there is no query parameter %q; the parameters are: %s", clip(name), strings.Join(known, ", "))
		case len(given) > 1:
			return nil, problem(codeMalformed, "query parameter %q is there twice", name)
		}
	}
	return query(values), nil
}

func (q query) text(name string) string { return url.Values(q).Get(name) }

// number reads a parameter between least and most; standard when it is not there.
func (q query) number(name string, standard, least, most int64) (int64, error) {
	text := q.text(name)
	if text == "" {
		return standard, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < least || n > most {
		return 0, problem(codeMalformed, "query parameter %q is %q, want a number from %d to %d", name, clip(text), least, most)
	}
	return n, nil
}
