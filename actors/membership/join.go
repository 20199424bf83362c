package membership

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"time"

	"example.com/life/events"
	"example.com/life/sagas"
	"example.com/life/sagas/cluster"
)

// How much the clocks of two hosts may differ.
const (
	SkewWarned  = events.Second      // beyond it hosts say so
	SkewRefused = 30 * events.Second // beyond it a join is refused
)

const (
	reachTime = 5 * time.Second // that the store has to answer, at first
	joinTime  = 30 * time.Second
	probeTime = 3 * time.Second // until a blob that another host stored has to be there
)

// Join makes a host a member. It is refused while a living host has its name, if clocks differ much, if a blob that a member has just stored is not to be found, and as
// [cluster.View.Compatible] says. The peer port has to be taken before, and to be served after.
//
// If we die once the join is appended, others find that nothing answers there, and remove the host; or it comes back and replaces itself.
func Join(ctx context.Context, config Config) (*Member, error) {
	if config.Log == nil {
		config.Log = slog.New(slog.DiscardHandler)
	}
	if config.Work == nil {
		config.Work = func(context.Context) (Work, error) { return Work{}, nil }
	}
	l, err := newLedger(config.Journal, config.Cluster)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, joinTime)
	defer cancel()
	j := &joining{config: config, ledger: l, id: newCommand()}
	m, err := j.join(ctx)
	if err != nil {
		return nil, fmt.Errorf("join cluster %s as host %s: %w", config.Cluster, config.Joined.Name, err)
	}
	return m, nil
}

// joining is a host that wants to be a member.
type joining struct {
	config Config
	ledger ledger
	id     events.CommandID
}

func (j *joining) join(ctx context.Context) (*Member, error) {
	reach, cancel := context.WithTimeout(ctx, reachTime)
	at, err := j.ledger.read(reach, j.ledger.start())
	cancel()
	if err != nil {
		return nil, fmt.Errorf("the store does not answer: %w", err)
	}
	if err := j.meet(ctx, at.view); err != nil {
		return nil, err
	}
	for {
		dead, err := j.replaced(ctx, at.view)
		if err != nil {
			return nil, err
		}
		command := cluster.Join{Meta: sagas.Meta{ID: j.id}, Host: j.config.Joined, Dead: dead, Older: j.config.Older}
		var sent events.Micros
		at, sent, err = j.ledger.carryOut(ctx, at, "", j.config.Clock, command)
		if refused, ok := errors.AsType[*sagas.RefusalError](err); ok && refused.Code == sagas.RefusedExists && dead == "" {
			if there, ok := at.view.Named(j.config.Joined.Name); ok && there.Command != j.id { // it joined meanwhile, or is dead
				if dead, err := j.replaced(ctx, at.view); err != nil || dead == "" {
					return nil, errors.Join(refused, err)
				}
				continue
			}
		}
		if err := settle(err); err != nil {
			return nil, err
		}
		there, ok := at.view.Named(j.config.Joined.Name)
		if !ok || there.Command != j.id {
			return nil, errors.New("it was removed again at once")
		}
		j.config.Log.Info("this host is a member of the cluster", "cluster", j.config.Cluster, "host", there.ID, "epoch", at.view.Epoch)
		return begin(j.config, j.ledger, there.ID, at, sent, micros(j.config.Clock.Now())), nil
	}
}

// replaced returns the member of the joining host's name, if it is dead.
func (j *joining) replaced(ctx context.Context, view *cluster.View) (events.HostID, error) {
	there, ok := view.Named(j.config.Joined.Name)
	if !ok || there.Command == j.id {
		return "", nil
	}
	now := micros(j.config.Clock.Now())
	contact := cluster.Contact{Since: now}
	for !cluster.Replaceable(&j.config.Joined, &there, contact, now) {
		pong, err := j.ping(ctx, there)
		now = micros(j.config.Clock.Now())
		switch {
		case ctx.Err() != nil:
			return "", fmt.Errorf("whether host %s lives, which has this name, is not known: %w", there.ID, ctx.Err())
		case err == nil && pong.Host == there.ID:
			return "", nil // it lives: the join is refused
		case err == nil, errors.Is(err, ErrRefused):
			contact = contact.RefusedAt(now)
		}
		select {
		case <-time.After(length(cluster.PingAgain)):
		case <-ctx.Done():
		}
	}
	j.config.Log.Warn("the host that had this name does not answer: it is removed", "host", there.ID)
	return there.ID, nil
}

func (j *joining) ping(ctx context.Context, to cluster.Member) (Pong, error) {
	ctx, cancel := context.WithTimeout(ctx, length(cluster.PingWithin))
	defer cancel()
	return j.config.Contacts.Ping(ctx, to, Ping{Epoch: events.NoRevision})
}

// meet asks all members whether this host fits to them: its certificate, its clock, its blobs. Those that do not answer are left to the others: a cluster all of whose
// hosts ended has to begin with one.
func (j *joining) meet(ctx context.Context, view *cluster.View) error {
	others := slices.DeleteFunc(view.Sorted(), func(m cluster.Member) bool { return m.Joined.Name == j.config.Joined.Name })
	problems, answered := make([]error, len(others)), make([]bool, len(others))
	var all sync.WaitGroup
	for i, other := range others {
		all.Go(func() { answered[i], problems[i] = j.greet(ctx, other) })
	}
	all.Wait()
	if err := errors.Join(problems...); err != nil {
		return err
	}
	for i, other := range others {
		if answered[i] && other.State == cluster.StateJoined {
			if found, err := j.probe(ctx, other); found || err != nil {
				return err
			}
		}
	}
	return nil
}

// greet compares clocks with a member.
func (j *joining) greet(ctx context.Context, other cluster.Member) (answered bool, err error) {
	sent, wall := j.config.Clock.Now(), j.config.Clock.Wall()
	pong, err := j.ping(ctx, other)
	switch {
	case errors.Is(err, ErrUntrusted):
		return false, err
	case err != nil || pong.Host != other.ID:
		j.config.Log.Warn("a member of the cluster does not answer", "host", other.ID, "at", other.Joined.Peer, "error", err)
		return false, nil
	}
	skew := pong.Wall - wall - micros(j.config.Clock.Now()-sent)/2
	switch seconds := float64(skew) / float64(events.Second); {
	case differ(skew) > SkewRefused:
		return true, fmt.Errorf("the clock of host %s is %.1f s ahead of this machine's, at most 30 s are allowed: set both by NTP", other.ID, seconds)
	case differ(skew) > SkewWarned:
		j.config.Log.Warn("the clocks of two hosts differ: set them by NTP", "host", other.ID, "seconds", seconds)
	}
	return true, nil
}

// probe looks for a blob that a member has just stored.
func (j *joining) probe(ctx context.Context, other cluster.Member) (found bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	blob, err := j.config.Contacts.Probe(ctx, other)
	if err != nil {
		j.config.Log.Warn("whether blobs are shared could not be tried", "host", other.ID, "error", err)
		return false, nil
	}
	for {
		if err = j.find(ctx, blob); err == nil {
			return true, nil
		}
		select {
		case <-time.After(length(cluster.PingEvery)): // shared file systems show files late
		case <-ctx.Done():
			return false, fmt.Errorf("a blob that host %s has just stored is not among this host's: all hosts of a cluster need the same directory of blobs: %w", other.ID, err)
		}
	}
}

func (j *joining) find(ctx context.Context, blob events.BlobRef) error {
	content, err := j.config.Blobs.Open(ctx, blob)
	if err != nil {
		return err
	}
	defer content.Close()
	_, err = io.Copy(io.Discard, content)
	return err
}
