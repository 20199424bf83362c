package api

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"example.com/life/events"
	"example.com/life/sagas/strictjson"
)

// bodyTime is how long a client may take to send a body.
const bodyTime = time.Minute

// decode reads a request's body into a struct. No body means no fields. The errors are problems that name what is wrong.
func decode(w http.ResponseWriter, r *http.Request, limit int64, into any) error {
	control := http.NewResponseController(w)
	place := placeOf(r.Context())
	place.End() // while its body is waited for, the request makes room for others
	defer place.Begin()
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
		return problem(codeMedia, "the Content-Type is %q, want application/json", events.Clip(r.Header.Get("Content-Type"), 200))
	}
	return decodeJSON(raw, into)
}

// decodeJSON reads JSON into a struct, strictly.
func decodeJSON(raw []byte, into any) error {
	if err := strictjson.Read(raw, into); err != nil {
		return problemOf(err)
	}
	return nil
}

// query is a request's query parameters; all of them are known and there once.
type query url.Values

func readQuery(r *http.Request, known ...string) (query, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, problem(codeMalformed, "the query cannot be read: %s", events.Clip(err.Error(), 200))
	}
	for name, given := range values {
		switch {
		case len(known) == 0:
			return nil, problem(codeMalformed, "this path takes no query parameters, but there is %q", events.Clip(name, 200))
		case !slices.Contains(known, name):
			return nil, problem(codeMalformed, "there is no query parameter %q; the parameters are: %s", events.Clip(name, 200), strings.Join(known, ", "))
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
		return 0, problem(codeMalformed, "query parameter %q is %q, want a number from %d to %d", name, events.Clip(text, 200), least, most)
	}
	return n, nil
}

// chosen reports whether a parameter is there; it has one value.
func (q query) chosen(name, value string) (bool, error) {
	text := q.text(name)
	if text != "" && text != value {
		return false, problem(codeMalformed, "query parameter %q is %q, want %s or nothing", name, events.Clip(text, 200), value)
	}
	return text != "", nil
}
