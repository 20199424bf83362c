package groups

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"example.com/life/actors"
	"example.com/life/events"
)

// linkKind is the type of events that point at another: their data are "<revision>@<stream>".
const linkKind = events.Kind("$>")

// parseLink reads what a link points at.
func parseLink(link *events.Envelope) (revision events.Revision, stream events.Stream, ok bool) {
	number, name, found := strings.Cut(string(dataOf(link)), "@")
	n, err := strconv.ParseInt(number, 10, 64)
	return events.Revision(n), events.Stream(name), found && err == nil && n >= 0 && actors.CheckStream(events.Stream(name)) == nil
}

// target is what a link to a message says: what the event is that was delivered, or, of a link that leads nowhere, where it was to lead.
func target(m *message) string {
	if m.event == nil {
		return string(dataOf(m.link))
	}
	return fmt.Sprintf("%d@%s", m.event.Revision, m.event.Stream)
}

// newLink makes the data of a link event.
func newLink(target string) json.RawMessage {
	return json.RawMessage(`"` + base64.StdEncoding.EncodeToString([]byte(target)) + `"`)
}

// dataOf returns an event's bytes as they were written.
func dataOf(e *events.Envelope) []byte {
	if e.Foreign == nil || !e.Foreign.Base64 {
		return e.Data
	}
	data, err := base64.StdEncoding.AppendDecode(nil, []byte(strings.Trim(string(e.Data), `"`)))
	if err != nil {
		return nil // as a link it leads nowhere
	}
	return data
}

// resolve reads what a link points at; nil when there is nothing.
func resolve(ctx context.Context, store Store, link *events.Envelope) (*events.Envelope, error) {
	revision, stream, ok := parseLink(link)
	if !ok {
		return nil, nil //nolint:nilnil // it leads nowhere
	}
	page, err := store.Read(ctx, stream, revision, actors.Forward, actors.Limit{Events: 1})
	if err != nil && !errors.Is(err, actors.ErrDeleted) {
		return nil, fmt.Errorf("resolve link %s: %w", link.Ref(), err)
	}
	if len(page.Events) == 0 || page.Events[0].Revision != revision {
		return nil, nil //nolint:nilnil // it leads nowhere
	}
	return &page.Events[0], nil
}
