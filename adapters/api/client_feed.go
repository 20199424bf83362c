package api

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"example.com/life/actors"
	"example.com/life/actors/storage"
	"example.com/life/events"
	"example.com/life/sagas"
)

const (
	silence   = 3 * maxHeartbeat       // after which a connection counts as dead
	comeBack  = 100 * time.Millisecond // before a broken connection is opened again; doubled each time it fails
	longPause = 5 * time.Second
)

// Watch shows what happens to an agent after a revision (NoRevision: from its beginning). A connection that breaks is opened again
// where it broke: no event is left out and none comes twice; text that was shown meanwhile is lost, and is in the reply's event. The
// feed ends with ErrClosed when the server's host closes, unless there are other hosts, and with the last failure when it could not come back in time.
func (c *Client) Watch(ctx context.Context, agent events.AgentID, after events.Revision) (actors.Feed, error) {
	if err := agent.Validate(); err != nil {
		return nil, invalid("%v", err)
	}
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	f := &clientFeed{
		client: c, agent: agent, last: after, cancel: cancel, items: make(chan actors.Item), ended: make(chan struct{}),
	}
	giveUp := context.AfterFunc(ctx, cancel)
	first, err := f.connect(running)
	if !giveUp() && err == nil { // ctx ended meanwhile
		first.close()
		err = ctx.Err()
	}
	if err != nil {
		cancel()
		return nil, closedAs(ctx, err)
	}
	go f.pump(running, first)
	return f, nil
}

type clientFeed struct {
	client *Client
	agent  events.AgentID
	last   events.Revision // the last event that was handed on; owned by pump
	cancel context.CancelFunc
	items  chan actors.Item
	ended  chan struct{} // closed when pump returns; err is set before
	err    error
}

// Next implements actors.Feed.
func (f *clientFeed) Next(ctx context.Context) (actors.Item, error) {
	select {
	case item := <-f.items:
		return item, nil
	case <-f.ended:
		return actors.Item{}, f.err
	case <-ctx.Done():
		return actors.Item{}, ctx.Err()
	}
}

// Close implements io.Closer.
func (f *clientFeed) Close() error {
	f.cancel()
	<-f.ended
	return nil
}

// connection is one open connection of a feed.
type connection struct {
	sentEvents
	host  int
	close func()
}

// connect opens a connection after the last event that was handed on. It is cut when nothing is heard for too long; if there are other hosts to go on at, when
// its host does not answer.
func (f *clientFeed) connect(ctx context.Context) (*connection, error) {
	ctx, cancel := context.WithCancel(ctx)
	header := http.Header{"Accept": {"text/event-stream"}}
	if f.last != events.NoRevision {
		header.Set("Last-Event-ID", strconv.FormatInt(int64(f.last), 10))
	}
	connecting := time.AfterFunc(silence, cancel)
	a, err := f.client.ask(ctx, call{method: http.MethodGet, path: agentPath(f.agent, "feed"), header: header})
	if connecting.Stop(); err != nil {
		cancel()
		return nil, err
	}
	watchdog, allowed := f.client.watchdog(ctx, a.host, cancel)
	return &connection{
		sentEvents: sentEvents{bufio.NewReader(a.answer.Body), func() { watchdog.Reset(allowed) }},
		host:       a.host,
		close: func() {
			watchdog.Stop()
			cancel()
			a.answer.Body.Close()
		},
	}, nil
}

// watchdog cuts a connection when nothing was heard for as long as is allowed; if there are other hosts, when its host does not answer then.
func (c *Client) watchdog(ctx context.Context, host int, cut func()) (timer *time.Timer, allowed time.Duration) {
	if len(c.hosts) == 1 {
		return time.AfterFunc(silence, cut), silence
	}
	set := make(chan struct{})
	defer close(set)
	timer = time.AfterFunc(memberSilence, func() {
		<-set
		switch {
		case c.alive(ctx, host):
			timer.Reset(memberSilence)
		case ctx.Err() == nil:
			c.leave(host)
			cut()
		}
	})
	return timer, memberSilence
}

// pump hands on what comes in, over one connection after another. Its owner is the feed: Close waits for it.
func (f *clientFeed) pump(ctx context.Context, open *connection) {
	defer close(f.ended)
	for {
		err := f.receive(ctx, open)
		open.close()
		if err == nil {
			open, err = f.reconnect(ctx)
		}
		if ctx.Err() != nil {
			err = storage.ErrClosed
			if open != nil {
				open.close()
			}
		}
		if err != nil {
			f.err = err
			return
		}
	}
}

// receive hands on items until the connection breaks, which is no error, or the feed is over.
func (f *clientFeed) receive(ctx context.Context, open *connection) error {
	for {
		event, err := open.next()
		if errors.Is(err, errTooLong) {
			return err
		}
		if err != nil {
			return nil //nolint:nilerr // it broke: the next connection goes on
		}
		var item actors.Item
		switch event.name {
		case itemResync:
			return nil
		case itemClosed:
			if len(f.client.hosts) == 1 {
				return storage.ErrClosed
			}
			f.client.leave(open.host)
			return nil
		case itemFailed:
			return failedAs(event.data)
		case itemDelta:
			item.Delta = &actors.FeedDelta{}
			err = json.Unmarshal(event.data, item.Delta)
		default:
			item.Event = &events.Envelope{}
			if err = json.Unmarshal(event.data, item.Event); err == nil && item.Event.Revision != f.last+1 {
				err = fmt.Errorf("event %s follows revision %d", item.Event.Ref(), f.last)
			}
		}
		if err != nil {
			return fmt.Errorf("read feed of %s: %w", f.agent, err)
		}
		select {
		case f.items <- item:
		case <-ctx.Done():
			return storage.ErrClosed
		}
		if item.Event != nil {
			f.last = item.Event.Revision
		}
	}
}

func failedAs(data []byte) error {
	p := &Problem{}
	if err := json.Unmarshal(data, p); err != nil {
		return fmt.Errorf("read the feed's failure: %w", err)
	}
	return p.typed()
}

// reconnect opens the next connection, later and later, until the patience is over. What the server refuses it would refuse again.
func (f *clientFeed) reconnect(ctx context.Context) (*connection, error) {
	pause := comeBack
	for began := time.Now(); ; {
		select {
		case <-time.After(pause/2 + rand.N(pause)):
		case <-ctx.Done():
			return nil, storage.ErrClosed
		}
		open, err := f.connect(ctx)
		if err == nil || ctx.Err() != nil || final(err) {
			return open, err
		}
		if time.Since(began) > f.client.patience {
			return nil, fmt.Errorf("watch %s, given up after %s: %w", f.agent, f.client.patience, err)
		}
		pause = min(2*pause, longPause)
	}
}

// final reports whether the server would refuse again.
func final(err error) bool {
	var (
		refusal *sagas.RefusalError
		p       *Problem
	)
	return errors.As(err, &refusal) || errors.As(err, &p) && p.Status < http.StatusInternalServerError
}
