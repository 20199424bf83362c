package actors

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/google/uuid"

	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/sagas"
)

// ask hands a request to a pool of workers. It is cut off when it is abandoned; its time begins when a worker does.
type ask[R any] struct {
	*errand

	agent string
	what  R
	files *recording // of a call's round
}

// pool is the actor in front of models or of tools: at most so many work at once, the others wait in order.
type pool[R any] struct {
	host    *Host
	work    func(ask[R])
	limit   int
	working int
	waiting []ask[R]
}

// free tells a pool that a worker is done.
type free struct{}

// Receive implements actor.Actor.
func (p *pool[R]) Receive(c actor.Context) {
	switch m := c.Message().(type) {
	case ask[R]:
		if p.working >= p.limit {
			p.waiting = append(p.waiting, m)
			return
		}
		p.start(c.Self(), m)
	case free:
		p.working--
		for len(p.waiting) > 0 && p.working < p.limit {
			next := p.waiting[0]
			p.waiting[0] = ask[R]{}
			p.waiting = p.waiting[1:]
			if !next.abandoned() {
				p.start(c.Self(), next)
			}
		}
	}
}

func (p *pool[R]) start(self *actor.PID, m ask[R]) {
	p.working++
	p.host.run(func() {
		defer p.host.system.Root.Send(self, free{})
		p.work(m)
	})
}

// askModel asks a model once. Every way it can end is an answer, unless nobody waits for one any more.
func (h *Host) askModel(m ask[sagas.AskModel]) {
	if m.abandoned() {
		return
	}
	started := time.Now()
	ctx, cancel := m.within(h.limits.Model)
	reply, err := h.reply(ctx, m)
	cancel()
	if m.abandoned() {
		return
	}
	if err != nil {
		failed := replyFailed(m.what.ID, err, h.limits.Model)
		failed.Detail, _ = h.masker.Mask(m.what.Masking, failed.Detail)
		if failed.Usage.Total() == 0 { // the provider was cut off itself, or does not say
			failed.Usage, _ = h.estimate(&m.what, m.received.Load())
		}
		if failed.Usage.Total() > 0 {
			failed.Cost, failed.Priced = h.prices.Cost(m.what.Model, failed.Usage)
		}
		m.finish(failed, events.Ref(m.what.ID))
		return
	}
	m.arrived()
	cost, priced := h.prices.Cost(m.what.Model, reply.Usage)
	masked := h.maskReply(m.what.Masking, &reply)
	answer := sagas.RecordReply{
		Meta: meta(m.what.ID), Request: m.what.ID, Stop: reply.Stop, Met: reply.Met, Model: reply.Model,
		Usage: reply.Usage, Cost: cost, Priced: priced, Duration: micros(time.Since(started)), Fault: reply.Fault,
	}
	if large(&reply) {
		if err := h.patiently(m.life(), m.wait, func() error { return h.storable(m.life(), &answer, &reply, m.what.Tools) }); err != nil {
			return // nobody waits for it any more
		}
	} else {
		answer.Text.Inline, answer.Calls = strings.ToValidUTF8(reply.Text, "\uFFFD"), reply.Calls
	}
	answer.Text.Masked = masked
	if len(answer.Calls) > 0 && !m.what.Summary {
		answer.Findings = h.judge(m.life(), &m.what, reply.Calls)
	}
	m.finish(answer, events.Ref(m.what.ID))
}

// reply asks the model. A panic of a provider is its failure, not the host's.
func (h *Host) reply(ctx context.Context, m ask[sagas.AskModel]) (answer ModelResponse, err error) {
	defer func() {
		if r := recover(); r != nil {
			h.log.Error("provider panicked", "model", m.what.Model, "panic", r, "stack", string(debug.Stack()))
			err = &ModelError{Class: events.ErrorInvalid, Detail: fmt.Sprintf("the provider panicked: %v", r)}
		}
	}()
	model, name, err := h.models.Lookup(m.what.Model)
	if err != nil {
		return ModelResponse{}, err
	}
	messages, err := h.hydrate(ctx, &m.what)
	if err != nil {
		return ModelResponse{}, err
	}
	specs, err := h.toolSpecs(&m.what)
	if err != nil {
		return ModelResponse{}, err
	}
	question := ModelRequest{
		Model: name, System: m.what.System, Messages: messages, Tools: specs, Reply: m.what.Reply, Context: m.what.Context, Thinking: m.what.Thinking,
		Bounded: m.what.Bounded,
	}
	agent := events.AgentID(m.agent)
	deltas := maskedDelta{host: h, level: m.what.Masking, agent: agent, show: h.feeds.delta(agent, m.what)}
	answer, err = model.Ask(ctx, question, func(piece Delta) {
		m.received.Add(int64(len(piece.Tool) + len(piece.Text)))
		deltas.delta(piece)
	})
	if err == nil {
		deltas.end()
	}
	return answer, err
}

// replyFailed sorts an error of a model.
func replyFailed(request events.RequestID, err error, deadline time.Duration) sagas.ReplyFailed {
	c := sagas.ReplyFailed{Meta: meta(request), Request: request, Class: events.ErrorInvalid}
	var failed *ModelError
	switch {
	case errors.As(err, &failed):
		c.Class, c.Detail, c.RetryAfter = failed.Class, failed.Detail, micros(failed.RetryAfter)
		c.Usage, c.Room = failed.Usage, failed.Room
	case errors.Is(err, context.DeadlineExceeded):
		c.Class, c.Detail = events.ErrorTimeout, "no reply within "+deadline.String()
	case storage.OutOfFiles(err):
		c.Class, c.Detail = events.ErrorOverloaded, err.Error()
	default:
		c.Detail = err.Error()
	}
	c.Detail = events.Preview(c.Detail)
	return c
}

// runTool runs a call once, and records the files of its workspace before and after if its tool may change them.
func (h *Host) runTool(m ask[sagas.AskTool]) {
	tool, known := h.tool(m.what.Tool)
	if !known {
		m.failed("this host has no tool " + m.what.Tool)
		return
	}
	spec := tool.Spec()
	if m.abandoned() {
		return
	}
	if ref := m.what.Blob; ref != nil {
		arguments, err := h.blobText(m.life(), *ref)
		if err != nil {
			m.failed("the call was not run: its arguments cannot be read: " + err.Error())
			return
		}
		m.what.Arguments = []byte(arguments)
	}
	if !h.meant(&m.what, &spec) {
		m.failed(refusedMarkers)
		return
	}
	if m.files == nil {
		h.runOnce(m, tool, spec, nil)
		return
	}
	m.files.begin(m.life(), h, m.what) // and not after the claim: if we die while we record, the effect never began
	defer m.files.finish()
	h.runOnce(m, tool, spec, func(returned sagas.RecordResult, answer func(sagas.RecordResult)) {
		m.files.end(m.life(), h, m.what, func(before, after *events.Tree) {
			returned.Before, returned.Tree = before, after
			answer(returned)
		})
	})
}

// runOnce runs a call once and answers it, by way of record if that is given. An effect that cannot be repeated is
// claimed first: if we die after the claim, the next activation finds it and records the call as lost; if we die before it, the
// effect never began and the next activation runs it.
func (h *Host) runOnce(m ask[sagas.AskTool], tool Tool, spec ToolSpec, record func(sagas.RecordResult, func(sagas.RecordResult))) {
	if !spec.Repeatable {
		h.effects.Add(1)
		defer h.effects.Add(-1)
		if !h.claimed(m) {
			return
		}
	}
	started := time.Now()
	result := h.use(m, tool, spec)
	if m.abandoned() {
		return
	}
	if result.Ask != nil {
		m.finish(h.question(m, result), events.Ref(m.what.ID))
		return
	}
	answer := func(returned sagas.RecordResult) { m.finish(returned, events.Ref(m.what.ID)) }
	if record == nil {
		answer(h.returned(m, started, result))
		return
	}
	record(h.returned(m, started, result), answer)
}

// claimed claims a call and reports whether it may begin. If not, it is answered, unless nobody waits for an answer any more.
func (h *Host) claimed(m ask[sagas.AskTool]) bool {
	claimed := h.now()
	mine, err := h.claim(m.life(), m.what, m.wait)
	if err == nil && mine && h.cluster != nil {
		if err = h.cluster.begin(m.life(), claimed, m.wait); errors.Is(err, ErrNotBegun) {
			m.failed("the call was not run: " + err.Error())
			return false
		}
	}
	switch {
	case m.abandoned(), errors.Is(err, storage.ErrClosed):
		return false // if the claim was stored nonetheless, the next activation finds it
	case err != nil:
		m.failed("the call was not run: it cannot be claimed: " + err.Error())
		return false
	case mine:
		return true
	}
	var claim events.EffectClaimed
	at := events.Micros(0)
	if err := h.patiently(m.life(), m.wait, func() (err error) {
		claim, at, err = h.claimant(m.life(), m.what.ID)
		return err
	}); err != nil {
		return false
	}
	if h.cluster != nil {
		result, err := h.cluster.lost(m.life(), events.AgentID(m.agent), m.what.ID, claim.Host, m.wait)
		if err != nil {
			return false
		}
		if result != nil {
			result.Meta = meta(m.what.ID)
			m.finish(*result, events.NewRef(events.EffectStream(m.what.ID), 0))
			return false
		}
	}
	m.finish(sagas.RecordLoss{
		Meta: meta(m.what.ID), Request: m.what.ID, Call: m.what.Call, Host: cmp.Or(claim.Host, "unknown"),
		Detail: fmt.Sprintf("host %q began it at %s and stored no result, which is so when it was stopped meanwhile, and %s cannot be repeated",
			claim.Host, time.UnixMicro(int64(at)).UTC().Format(time.RFC3339), m.what.Tool),
	}, events.NewRef(events.EffectStream(m.what.ID), 0))
	return false
}

// now is the time by which claims are judged in a cluster.
func (h *Host) now() time.Duration {
	if h.cluster == nil {
		return 0
	}
	return h.cluster.Member.Now()
}

// claimant reads who claimed an effect, and when.
func (h *Host) claimant(ctx context.Context, request events.RequestID) (claim events.EffectClaimed, at events.Micros, err error) {
	page, err := h.journal.Read(ctx, events.EffectStream(request), 0, storage.Forward, storage.Limit{Events: 1})
	if err != nil || len(page.Events) == 0 {
		return claim, 0, err
	}
	event, err := page.Events[0].Event()
	if found, is := event.(events.EffectClaimed); is {
		claim = found
	}
	return claim, page.Events[0].Time, err
}

// failed answers a call that was not run.
func (m ask[R]) failed(text string) {
	m.finish(sagas.RecordResult{
		Meta: meta(m.about.Request), Request: m.about.Request, Call: m.about.Call, Failed: true, Text: events.Text{Inline: events.Preview(strings.ToValidUTF8(text, "\uFFFD"))},
	}, events.Ref(m.about.Request))
}

// claim makes the effect ours, or says that it was begun before. It tries the same event until the outcome is known: an effect of
// which nobody knows whether it is ours is not begun. An error means that ctx ended, or that the store will never take the claim.
func (h *Host) claim(ctx context.Context, r sagas.AskTool, note func(error)) (bool, error) {
	event := events.EffectClaimed{Request: r.ID, Tool: r.Tool, Host: cmp.Or(string(h.id), h.name)}
	data, version, err := events.Encode(event)
	if err != nil {
		return false, err
	}
	claim := []events.Envelope{{
		ID: uuid.New(), Kind: event.Kind(), Version: version, Time: storage.Now(), Actor: h.name, Command: meta(r.ID).ID, Host: h.id,
		Correlation: string(r.Turn), Causation: events.Ref(r.ID), Digest: events.Digest{}.Next(event.Kind(), data), Data: data,
	}}
	for {
		_, err = h.append(events.EffectStream(r.ID), storage.ExpectNoStream, claim)
		var conflict *storage.ConflictError
		switch {
		case err == nil:
			return true, nil
		case errors.As(err, &conflict):
			return false, nil
		case final(err), ctx.Err() != nil:
			return false, err
		}
		note(err)
	}
}

// use runs the tool within its time. A panic of a tool is its failure, not the host's.
func (h *Host) use(m ask[sagas.AskTool], tool Tool, spec ToolSpec) (result ToolResult) {
	defer func() {
		if r := recover(); r != nil {
			h.log.Error("tool panicked", "tool", spec.Name, "panic", r, "stack", string(debug.Stack()))
			result = ToolResult{Text: fmt.Sprintf("the tool failed: %v", r), Failed: true}
		}
	}()
	ctx, cancel := m.within(h.toolLimit(spec.Name))
	defer cancel()
	secrets := &callSecrets{masker: h.masker, level: m.what.Masking, granted: m.what.Secrets}
	defer func() { result.masked = events.CountMasked(result.masked, secrets.hits()...) }()
	result, err := tool.Run(ctx, ToolUse{
		Agent: events.AgentID(m.agent), Request: m.what.ID, Workspace: m.what.Workspace, Arguments: m.what.Arguments, Editor: m.what.Editor,
		Secrets: secrets, Knowledge: &callKnowledge{host: h, agent: events.AgentID(m.agent), ask: m.what}, Watchdog: h.watchdog(&spec),
		Skills: m.what.Skills, Of: m.what.Of, Answers: m.what.Answers,
	})
	switch {
	case err != nil && errors.Is(err, context.DeadlineExceeded):
		return ToolResult{Text: "the call was cut off after " + h.toolLimit(spec.Name).String(), Failed: true}
	case err != nil:
		return ToolResult{Text: "the call failed: " + err.Error(), Failed: true}
	}
	return result
}

// abandoned reports whether nobody waits for an answer any more: the request was cancelled, as history says, or the host is closing.
func abandoned(ctx context.Context) bool { return errors.Is(ctx.Err(), context.Canceled) }

// toolLimit is how long a call of a tool may take.
func (h *Host) toolLimit(name string) time.Duration {
	if tool, known := h.tool(name); known && tool.Spec().Timeout > 0 {
		return tool.Spec().Timeout
	}
	return h.limits.Tool
}

func (h *Host) returned(m ask[sagas.AskTool], started time.Time, result ToolResult) sagas.RecordResult {
	text, masked := h.masker.Mask(m.what.Masking, strings.ToValidUTF8(result.Text, "\uFFFD"))
	switch {
	case len(result.Text) > events.InlineLimit: // a tool that does not keep its word
		text = events.Preview(text)
	case len(text) > events.InlineLimit: // markers are longer than what they stand for
		const note = "\n[… the rest is not shown: with its secrets masked, the result is too long]"
		text = events.Cut(text, events.InlineLimit-len(note)) + note
	}
	return sagas.RecordResult{
		Meta: meta(m.what.ID), Request: m.what.ID, Call: m.what.Call,
		Text: events.Text{Inline: text, Masked: events.CountMasked(result.masked, masked...)},
		Full: result.Full, Failed: result.Failed, Duration: micros(time.Since(started)), Sandbox: result.Sandbox, Confined: result.Confined,
	}
}

// question is what a call asks a person, masked.
func (h *Host) question(m ask[sagas.AskTool], result ToolResult) sagas.RecordQuestion {
	asked, hits := maskIn(h, m.what.Masking, *result.Ask)
	return sagas.RecordQuestion{
		Meta: meta(m.what.ID), Request: m.what.ID, Call: m.what.Call, Question: asked, Masked: events.CountMasked(result.masked, hits...),
	}
}

// spill stores a text that is too large for an event as a blob.
func (h *Host) spill(ctx context.Context, text string) (events.Text, error) {
	stored, err := h.spillOver(ctx, events.InlineLimit, text, "text/plain; charset=utf-8")
	if err != nil {
		return events.Text{}, err
	}
	return *stored, nil
}

// spillOver is spill with another limit and another media type.
func (h *Host) spillOver(ctx context.Context, limit int, text, media string) (*events.Text, error) {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) <= limit {
		return &events.Text{Inline: text}, nil
	}
	ref, err := h.blobs.Put(ctx, media, strings.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("store text of %d bytes: %w", len(text), err)
	}
	return &events.Text{Inline: events.Preview(text), Blob: &ref}, nil
}

// hydrate puts the texts of blobs in place of their previews, and leaves out what other models want back with their replies. A conversation
// with neither is shared with the saga as it is.
func (h *Host) hydrate(ctx context.Context, ask *sagas.AskModel) ([]sagas.Message, error) {
	if !ask.Blobs {
		return ask.Messages, nil
	}
	whole := slices.Clone(ask.Messages)
	for i := range whole {
		if err := h.hydrateCalls(ctx, &whole[i]); err != nil {
			return nil, err
		}
		text, err := h.wholeText(ctx, whole[i].Text)
		if err != nil {
			return nil, err
		}
		whole[i].Text = text
		if err := h.hydrateBlocks(ctx, &whole[i], whole[i].Model == ask.Model); err != nil {
			return nil, err
		}
	}
	return whole, nil
}

// hydrateBlocks reads the blobs of a message's blocks, or leaves out the raw forms that another model gave.
func (h *Host) hydrateBlocks(ctx context.Context, m *sagas.Message, own bool) error {
	if len(m.Blocks) == 0 {
		return nil
	}
	m.Blocks = slices.Clone(m.Blocks)
	for i := range m.Blocks {
		b := &m.Blocks[i]
		if !own {
			b.Raw = nil
		}
		if b.Raw == nil {
			continue // what was thought without it is for people
		}
		for _, text := range []**events.Text{&b.Text, &b.Raw} {
			if *text == nil || (*text).Blob == nil {
				continue
			}
			whole, err := h.wholeText(ctx, **text)
			if err != nil {
				return err
			}
			*text = &whole
		}
	}
	return nil
}

// wholeText is the text with what its blob holds.
func (h *Host) wholeText(ctx context.Context, text events.Text) (events.Text, error) {
	if text.Blob == nil {
		return text, nil
	}
	whole, err := h.blobText(ctx, *text.Blob)
	return events.Text{Inline: whole}, err
}

// hydrateCalls puts the whole arguments of a message's calls in place of their previews.
func (h *Host) hydrateCalls(ctx context.Context, m *sagas.Message) error {
	cloned := false
	for i := range m.Calls {
		ref := m.Calls[i].Blob
		if ref == nil {
			continue
		}
		arguments, err := h.blobText(ctx, *ref)
		if err != nil {
			return err
		}
		if !cloned {
			m.Calls, cloned = slices.Clone(m.Calls), true
		}
		m.Calls[i].Arguments, m.Calls[i].Blob = json.RawMessage(arguments), nil
	}
	return nil
}

func (h *Host) blobText(ctx context.Context, ref events.BlobRef) (string, error) {
	reader, err := h.blobs.Open(ctx, ref)
	if err != nil {
		return "", fmt.Errorf("open blob %s: %w", ref.Hash, err)
	}
	defer reader.Close()
	var text bytes.Buffer
	if _, err := io.Copy(&text, reader); err != nil {
		return "", fmt.Errorf("read blob %s: %w", ref.Hash, err)
	}
	return text.String(), nil
}

func micros(d time.Duration) events.Micros { return events.Micros(d.Microseconds()) }
