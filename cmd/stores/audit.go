package stores

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"

	"example.com/life/actors"
	"example.com/life/adapters/api"
	"example.com/life/adapters/secrets"
	"example.com/life/events"
)

// mostSecrets is how many findings an audit lists; the rest is counted.
const mostSecrets = 10_000

// AuditSecrets reads everything that is stored and names the places of secrets that would be masked today: what came in before they were, or
// what another program stored. It shows no part of any.
func (l *Local) AuditSecrets(ctx context.Context, level events.MaskingLevel, progress func(checked, total int64)) (api.SecretsReport, error) {
	masker := l.masker
	if masker == nil {
		masker = &secrets.Masker{}
	}
	refs, err := NewBlobRefs(l.Blobs)
	if err != nil {
		return api.SecretsReport{}, err
	}
	a := audit{masker: masker, level: level, local: l, refs: refs, blobs: map[string][]events.Masked{}, report: api.SecretsReport{Findings: []api.SecretFinding{}}}
	last, err := LastPosition(ctx, l.Journal)
	if err != nil {
		return a.report, err
	}
	err = Everything(ctx, l.Journal, 1, func(e *events.Envelope) error {
		a.report.Events++
		if progress != nil {
			progress(int64(e.Position), int64(max(last, e.Position)))
		}
		return a.event(ctx, e)
	})
	return a.report, err
}

type audit struct {
	masker actors.Masker
	level  events.MaskingLevel
	local  *Local
	refs   *BlobRefs
	blobs  map[string][]events.Masked // what is in those that were read
	report api.SecretsReport
}

func (a *audit) event(ctx context.Context, e *events.Envelope) error {
	a.countMasked(e)
	a.data(e)
	return a.refs.Each(ctx, e, func(ref events.BlobRef) {
		hits, known := a.blobs[ref.Hash]
		if !known {
			var err error
			if hits, err = a.blob(ctx, ref); err != nil {
				a.report.Unread = append(a.report.Unread, fmt.Sprintf("%s: blob %s: %v", e.Ref(), ref.Hash, err))
			}
			a.blobs[ref.Hash] = hits
		}
		a.found(e, "blob "+ref.Hash, hits)
	})
}

// countMasked adds up what was masked before it was stored.
func (a *audit) countMasked(e *events.Envelope) {
	if !bytes.Contains(e.Data, []byte(`"masked":[`)) {
		return
	}
	var counted struct {
		Masked []events.Masked `json:"masked"`
	}
	if json.Unmarshal(e.Data, &counted) == nil {
		a.report.Masked = events.CountMasked(a.report.Masked, counted.Masked...)
	}
}

// data looks at an event's data, field by field.
func (a *audit) data(e *events.Envelope) {
	_, whole := a.masker.MaskJSON(a.level, e.Data)
	if len(whole) == 0 {
		return
	}
	decoder := json.NewDecoder(bytes.NewReader(e.Data))
	decoder.UseNumber()
	var value any
	before := len(a.report.Findings) + a.report.More
	if decoder.Decode(&value) == nil {
		a.field(e, "", value)
	}
	if len(a.report.Findings)+a.report.More == before { // it stands in a field and its name together
		a.found(e, "data", whole)
	}
}

func (a *audit) field(e *events.Envelope, name string, value any) {
	switch v := value.(type) {
	case string:
		_, hits := a.masker.Mask(a.level, v)
		a.found(e, name, hits)
	case json.Number:
		_, hits := a.masker.Mask(a.level, string(v))
		a.found(e, name, hits)
	case []any:
		for i, inner := range v {
			a.field(e, name+"["+strconv.Itoa(i)+"]", inner)
		}
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			shown, hits := a.masker.Mask(a.level, key)
			at := shown
			if name != "" {
				at = name + "." + shown
			}
			a.found(e, at+" (its name)", hits)
			a.field(e, at, v[key])
		}
	}
}

func (a *audit) found(e *events.Envelope, field string, hits []events.Masked) {
	for _, hit := range hits {
		if len(a.report.Findings) == mostSecrets {
			a.report.More++
			continue
		}
		a.report.Findings = append(a.report.Findings, api.SecretFinding{
			Stream: e.Stream, Revision: e.Revision, Kind: e.Kind, Time: e.Time, Field: field, Rule: hit.Rule, Count: hit.Count,
		})
	}
}

// blob looks at a large text, or at a file of a workspace.
func (a *audit) blob(ctx context.Context, ref events.BlobRef) ([]events.Masked, error) {
	content, err := a.local.Blobs.Open(ctx, ref)
	if err != nil {
		return nil, err
	}
	defer content.Close()
	a.report.Blobs++
	start := make([]byte, 8<<10)
	n, err := io.ReadFull(content, start)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, err
	}
	level := a.level
	if bytes.IndexByte(start[:n], 0) >= 0 {
		level = events.MaskKnown // it is no text
	}
	reader := a.masker.Reader(level, io.MultiReader(bytes.NewReader(start[:n]), content))
	_, err = io.Copy(io.Discard, reader)
	return reader.Hits(), err
}
