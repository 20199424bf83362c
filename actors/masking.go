package actors

import (
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode"

	"example.com/life/events"
	"example.com/life/sagas"
)

// Masker takes secrets out of what comes from outside before it is decided on, stored or shown, and leaves a marker that names the rule in
// the place of each. So the sagas never see one, and what a model sees is what is stored. Masking what is masked changes nothing. What the
// host knows is masked at every level.
type Masker interface {
	Mask(level events.MaskingLevel, text string) (masked string, hits []events.Masked)
	// MaskJSON masks the texts in a JSON value. It stays JSON.
	MaskJSON(level events.MaskingLevel, value json.RawMessage) (masked json.RawMessage, hits []events.Masked)
	// Marked reports whether a marker stands in a text.
	Marked(level events.MaskingLevel, text string) bool
	// Stream masks what is written to it and passes it on, at least so many bytes at a time, and the rest when it is closed. What may be the
	// beginning of a secret is held back. With lines, the line ends within a secret are kept.
	Stream(level events.MaskingLevel, to io.Writer, least int, lines bool) MaskedStream
	// Reader reads a source with its secrets masked, and keeps the line ends within them.
	Reader(level events.MaskingLevel, source io.Reader) MaskedReader
	// Value returns a secret that tools may be given, by its name; Names lists those.
	Value(name string) (value string, found bool)
	Names() []string
}

// MaskedStream is a stream in which secrets are masked.
type MaskedStream interface {
	io.WriteCloser
	Hits() []events.Masked // so far
}

// MaskedReader is a source in which secrets are masked.
type MaskedReader interface {
	io.Reader
	Hits() []events.Masked // so far
}

// Secrets is what a call of a tool may do with secrets.
type Secrets interface {
	// Reader and Stream mask what a tool reads, or has written by others, and of which the model sees a part: what is cut first is not recognised
	// afterwards. Line ends are kept, and hits are counted with the call's result.
	Reader(source io.Reader) io.Reader
	Stream(to io.Writer, least int) io.WriteCloser
	// Value returns a secret of the host that the call's agent may use.
	Value(name string) (string, error)
}

// callSecrets is the secrets as one call may use them.
type callSecrets struct {
	masker  Masker
	level   events.MaskingLevel
	granted []string
	mu      sync.Mutex
	masked  []func() []events.Masked // what was masked in each source and output
}

// Reader implements [Secrets].
func (s *callSecrets) Reader(source io.Reader) io.Reader {
	reader := s.masker.Reader(s.level, source)
	s.count(reader.Hits)
	return reader
}

// Stream implements [Secrets].
func (s *callSecrets) Stream(to io.Writer, least int) io.WriteCloser {
	stream := s.masker.Stream(s.level, to, least, true)
	s.count(stream.Hits)
	return stream
}

func (s *callSecrets) count(hits func() []events.Masked) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.masked = append(s.masked, hits)
}

// hits is all that was masked. The tool has returned.
func (s *callSecrets) hits() (all []events.Masked) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, hits := range s.masked {
		all = events.CountMasked(all, hits()...)
	}
	return all
}

// Value implements [Secrets].
func (s *callSecrets) Value(name string) (string, error) {
	value, known := s.masker.Value(name)
	switch {
	case known && slices.Contains(s.granted, name):
		return value, nil
	case len(s.granted) == 0:
		return "", fmt.Errorf("secret %q is not for this agent: it may use none", events.Clip(name, 80))
	case !slices.Contains(s.granted, name):
		return "", fmt.Errorf("secret %q is not for this agent, which may use: %s", events.Clip(name, 80), strings.Join(s.granted, ", "))
	}
	return "", fmt.Errorf("this host has no secret %q: its setting secrets does not name it, or its value is empty", name)
}

// refusedMarkers is why a call is not run whose arguments have the marker of a secret: with it, it would do something else than was meant, such as
// write the marker over the secret.
const refusedMarkers = "not run: a [masked: …] stands in the arguments in the place of a secret, which nobody here can put back. " +
	"Leave what is masked as it is: edit the text around it. A command that needs a secret names it in the argument secrets, and finds it in the environment"

// meant reports whether a call's arguments are what was meant. What changes nothing outside Life's own history may have markers in them.
func (h *Host) meant(r *sagas.AskTool, spec *ToolSpec) bool {
	return spec.Inside || spec.Risk <= events.RiskLow || !h.masker.Marked(r.Masking, string(r.Arguments))
}

// maskReply masks what a model said.
func (h *Host) maskReply(level events.MaskingLevel, r *ModelResponse) (hits []events.Masked) {
	mask := func(text string) string {
		masked, more := h.masker.Mask(level, text)
		hits = events.CountMasked(hits, more...)
		return masked
	}
	r.Blocks = slices.Clone(r.Blocks)
	said := strings.ToValidUTF8(mask(r.Text), "\uFFFD")
	if said != r.Text {
		r.Blocks = fitText(r.Blocks, r.Text, said, func(part string) string {
			masked, _ := h.masker.Mask(level, part)
			return strings.ToValidUTF8(masked, "\uFFFD")
		})
	}
	r.Text, r.Model = said, mask(r.Model)
	r.Calls = slices.Clone(r.Calls)
	for i := range r.Calls {
		call := &r.Calls[i]
		arguments, more := h.masker.MaskJSON(level, call.Arguments)
		call.ID, call.Tool, call.Arguments = mask(call.ID), mask(call.Tool), arguments
		hits = events.CountMasked(hits, more...)
	}
	for i := range r.Blocks {
		b := &r.Blocks[i]
		b.Text = mask(b.Text)
		_, more := h.masker.MaskJSON(level, json.RawMessage(b.Raw))
		if b.Raw != "" && len(more) > 0 { // changed, it would be refused: providers sign what was thought
			b.Raw, hits = "", events.CountMasked(hits, more...)
		}
	}
	return hits
}

// fitText fits a layout to a reply's text in which something was masked: part by part, or, where a secret stands across two of them, as one.
func fitText(blocks []Block, before, after string, change func(string) string) []Block {
	fitted, left, joined := slices.Clone(blocks), before, ""
	for i := range fitted {
		if fitted[i].Kind == events.BlockText {
			n := min(max(fitted[i].Bytes, 0), len(left))
			part := change(left[:n])
			fitted[i].Bytes, left, joined = len(part), left[n:], joined+part
		}
	}
	if joined+change(left) == after {
		return fitted
	}
	fitted, all := fitted[:0], len(after)
	for _, b := range blocks {
		if b.Kind == events.BlockText {
			b.Bytes, b.Raw, all = all, "", 0
		}
		if b.Kind != events.BlockText || b.Bytes > 0 {
			fitted = append(fitted, b)
		}
	}
	return fitted
}

// deltaPiece is how much of a model's text is masked and shown at once, in bytes: some words.
const deltaPiece = 64

// maskedDelta masks what a model says as it streams in, one block after another. Nothing is masked while nobody watches; a watcher that comes
// later sees what comes from then on. Offsets are those in the masked text, as the reply will hold it.
type maskedDelta struct {
	host   *Host
	level  events.MaskingLevel
	agent  events.AgentID
	show   func(piece Delta, lost bool)
	block  Delta // that streams in: of its text, how much was shown or passed over
	begun  bool
	stream MaskedStream
	unseen strings.Builder // of the block, before anybody watched
	plain  plainEscapes    // of a call's arguments
	tool   string          // of a call whose beginning nobody has seen yet
	size   int             // bytes of the block that came
	passed bool            // what is written now was unseen
	lost   bool            // a piece came of a block that was left before: the next piece says so
}

func (d *maskedDelta) delta(piece Delta) {
	switch {
	case d.begun && piece.Block < d.block.Block:
		d.lost = true // its masking is over: the reply holds it
		return
	case !d.begun || piece.Block > d.block.Block:
		d.end()
		d.block, d.begun, d.size, d.tool = Delta{Block: piece.Block, Kind: piece.Kind}, true, 0, piece.Tool
	}
	if piece.Kind == events.BlockCall && !d.call(&piece) {
		return
	}
	if d.stream == nil && !d.host.feeds.watched(d.agent) {
		d.unseen.WriteString(piece.Text)
		return
	}
	if d.stream == nil {
		d.stream = d.host.masker.Stream(d.level, d, deltaPiece, false)
		d.passed = true
		d.write(d.unseen.String())
		d.passed = false
		d.unseen.Reset()
	}
	d.write(piece.Text)
}

// mostCallShown bounds what is shown of a call's arguments, in bytes.
const mostCallShown = events.InlineLimit

// call takes a piece of a call, and reports whether it holds more of the arguments that is shown.
func (d *maskedDelta) call(piece *Delta) bool {
	if d.tool != "" && d.host.feeds.watched(d.agent) {
		begins := d.block
		begins.Tool, _ = d.host.masker.Mask(d.level, events.Clip(strings.ToValidUTF8(d.tool, "\uFFFD"), maxToolShown))
		d.pass(begins)
		d.tool = ""
	}
	switch {
	case piece.Done:
		d.end()
		if d.host.feeds.watched(d.agent) {
			ends := d.block
			ends.Done = true
			d.lost = d.lost || piece.Offset > d.size
			d.pass(ends)
		}
		return false
	case piece.Text == "":
		return false
	case d.size+len(piece.Text) > mostCallShown:
		piece.Text = events.Cut(piece.Text, max(mostCallShown-d.size, 0)) // the end, or the next block, says that there was more
		d.lost = true
	}
	d.size += len(piece.Text)
	piece.Text = d.plain.next(piece.Text)
	return piece.Text != ""
}

// plainEscapes writes characters plainly in JSON that streams in, where they were escaped and need not be: a secret is found in no other form.
type plainEscapes struct {
	held string // the beginning of an escape
}

func (p *plainEscapes) next(text string) string {
	if text, p.held = p.held+text, ""; !strings.Contains(text, `\`) {
		return text
	}
	var plain strings.Builder
	for text != "" {
		at := strings.IndexByte(text, '\\')
		if at < 0 {
			plain.WriteString(text)
			break
		}
		plain.WriteString(text[:at])
		text = text[at:]
		size := 2
		if len(text) > 1 && text[1] == 'u' {
			size = len(`\u0041`)
		}
		if len(text) < size {
			p.held = text
			break
		}
		plain.WriteString(unescaped(text[:size]))
		text = text[size:]
	}
	return plain.String()
}

// unescaped is an escape of JSON, or the character that it stands for, if that can stand in a JSON text as it is.
func unescaped(escape string) string {
	if escape == `\/` {
		return "/"
	}
	code, err := strconv.ParseUint(strings.TrimPrefix(escape, `\u`), 16, 16)
	if r := rune(code); err == nil && len(escape) > 2 && unicode.IsPrint(r) && r != '"' && r != '\\' {
		return string(r)
	}
	return escape
}

// maxToolShown bounds the name of a tool that is shown, in bytes.
const maxToolShown = 256

func (d *maskedDelta) pass(piece Delta) {
	d.show(piece, d.lost)
	d.lost = false
}

func (d *maskedDelta) write(text string) {
	_, _ = io.WriteString(d.stream, text) //nolint:errcheck // to itself, which takes everything
}

// end shows what was held back of a block that is over.
func (d *maskedDelta) end() {
	if rest := d.plain.held; rest != "" && d.stream != nil {
		d.write(rest)
	}
	d.plain.held = ""
	if d.stream != nil {
		_ = d.stream.Close() // as above
	}
	d.stream = nil
	d.unseen.Reset()
}

// Write takes what was masked.
func (d *maskedDelta) Write(p []byte) (int, error) { return d.WriteString(string(p)) }

// WriteString is Write.
func (d *maskedDelta) WriteString(text string) (int, error) {
	if !d.passed && text != "" {
		piece := d.block
		piece.Text = text
		d.pass(piece)
	}
	d.block.Offset += len(text)
	return len(text), nil
}

// maskIn masks every text of a value, such as a command, and counts what it masked. What names something, such as an agent or a note, is no text.
func maskIn[T any](h *Host, level events.MaskingLevel, value T) (masked T, hits []events.Masked) {
	of := maskTexts(reflect.ValueOf(&value).Elem(), func(text string) string {
		masked, more := h.masker.Mask(level, text)
		hits = events.CountMasked(hits, more...)
		return masked
	})
	reflect.ValueOf(&masked).Elem().Set(of)
	return masked, hits
}

// maskTexts returns a value with every text in it masked; what it shares with others is left as it is. Ids and other texts of a type of their own
// are no texts.
func maskTexts(v reflect.Value, mask func(string) string) reflect.Value {
	switch v.Kind() {
	case reflect.String:
		if v.Type() == reflect.TypeFor[string]() {
			return reflect.ValueOf(mask(v.String()))
		}
	case reflect.Interface:
		if !v.IsNil() {
			return maskTexts(v.Elem(), mask)
		}
	case reflect.Pointer:
		if !v.IsNil() {
			masked := reflect.New(v.Type().Elem())
			masked.Elem().Set(maskTexts(v.Elem(), mask))
			return masked
		}
	case reflect.Slice:
		if v.IsNil() || v.Type().Elem().Kind() == reflect.Uint8 {
			return v
		}
		masked := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
		for i := range v.Len() {
			masked.Index(i).Set(maskTexts(v.Index(i), mask))
		}
		return masked
	case reflect.Struct:
		masked := reflect.New(v.Type()).Elem()
		masked.Set(v)
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				masked.Field(i).Set(maskTexts(v.Field(i), mask))
			}
		}
		return masked
	}
	return v
}
