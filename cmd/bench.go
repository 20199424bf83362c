package cmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"example.com/life/actors"
	"example.com/life/actors/storage"
	"example.com/life/adapters/embedded"
	"example.com/life/adapters/providers"
	known "example.com/life/adapters/providers/models"
	"example.com/life/adapters/secrets"
	"example.com/life/cmd/stores"
	"example.com/life/events"
	"example.com/life/sagas"
)

func benchCommand(a *app) *cobra.Command {
	return group("bench", "Benchmark this machine", "  life bench turns --json\n  life bench agents 100000\n  life bench store",
		benchTurnsCommand(a), benchStoreCommand(a), benchLookCommand(a), storeless(aboutOwn, benchAgentsCommand(a)),
		storeless(aboutOwn, benchActivationCommand(a)), storeless(aboutOwn, benchKnowledgeCommand(a)), storeless(aboutOwn, benchSeedCommand(a)))
}

// rig is a host in a directory of its own, with the scripted model and nothing else.
type rig struct {
	dir    string
	conf   actors.Config
	prefix string          // of the names of agents
	wallet events.WalletID // that pays for their turns
	*stores.Local
}

// benchDir is a new directory below the one that was named, or in the usual place for temporary files.
func benchDir(under string) (string, error) {
	if under != "" {
		var err error
		if under, err = filepath.Abs(under); err != nil {
			return "", err
		}
		if err := os.MkdirAll(under, 0o700); err != nil {
			return "", fmt.Errorf("create the benchmark's directory: %w", err)
		}
	}
	return os.MkdirTemp(under, "life-bench-")
}

// newRig starts a host with a new store in a directory.
func newRig(ctx context.Context, dir string, idle time.Duration) (*rig, error) {
	return newRigAt(ctx, stores.Location{Data: dir}, idle)
}

// newRigAt starts a host on a place. A store at an address may be somebody's: what else is in it is left alone, and what the benchmark
// stores has names of its own.
func newRigAt(ctx context.Context, at stores.Location, idle time.Duration) (*rig, error) {
	models, err := providers.New(providers.Config{})
	if err != nil {
		return nil, err
	}
	prices, err := known.Load("", "")
	if err != nil {
		return nil, err
	}
	masker, err := secrets.New([]secrets.Known{{Name: "BENCH", Value: uuid.NewString()}}) // as a host has that knows a key
	if err != nil {
		return nil, err
	}
	conf := actors.Config{Models: models, Prices: prices, Masker: masker, Idle: idle, OpeningCredit: benchCredit, Resting: !at.Embedded()}
	l, err := stores.OpenHost(ctx, at, conf)
	if err != nil {
		return nil, err
	}
	r := &rig{dir: at.Data, conf: conf, prefix: "bench-", Local: l}
	if at.Embedded() {
		return r, nil
	}
	r.prefix += uuid.NewString()[:8] + "-"
	r.wallet = events.WalletID(r.prefix + "wallet")
	open := sagas.OpenWallet{Meta: newMeta(""), Wallet: r.wallet, Credit: benchCredit}
	if _, err := r.Do(ctx, events.WalletStream(r.wallet), open, actors.Origin{Actor: "bench"}); err != nil {
		return nil, errors.Join(err, r.Close(context.WithoutCancel(ctx)))
	}
	return r, nil
}

// benchCredit pays for as many turns as a benchmark does.
const benchCredit = 1_000_000 * events.Dollar

// discard closes the rig and removes what it stored.
func (r *rig) discard(ctx context.Context) error {
	return errors.Join(r.Close(context.WithoutCancel(ctx)), os.RemoveAll(r.dir))
}

// agent makes an agent that does the benchmark's turn: two rounds, one call of echo.
func (r *rig) agent(ctx context.Context, id events.AgentID) error {
	_, err := r.Do(ctx, events.AgentStream(id), sagas.Create{
		Meta: newMeta(""), Agent: id,
		Config: events.AgentConfig{Model: "scripted/bench", Tools: grants("echo"), Wallet: r.wallet},
	}, actors.Origin{Actor: "bench"})
	return err
}

// turns sends messages to an agent, each when the turn before has ended, until more says no. It hands each turn's time to took.
func (r *rig) turns(ctx context.Context, id events.AgentID, more func() bool, took func(time.Duration)) error {
	stream, ended := events.AgentStream(id), events.TurnEnded{}.Kind()
	page, err := r.History(ctx, stream, 1<<62, storage.Backward, storage.Limit{Events: 1})
	if err != nil {
		return err
	}
	feed, err := r.Watch(ctx, id, page.Last) // the ends of earlier turns are not waited for again
	if err != nil {
		return err
	}
	defer feed.Close()
	for more() {
		begun := time.Now()
		send := sagas.Send{Meta: newMeta(""), Verb: events.Collect, Text: events.Text{Inline: "Call the tool once, then say that you are done."}}
		if _, err := r.Do(ctx, stream, send, actors.Origin{Actor: "bench"}); err != nil {
			return err
		}
		for item := (actors.Item{}); item.Event == nil || item.Event.Kind != ended; {
			if item, err = feed.Next(ctx); err != nil {
				return err
			}
		}
		took(time.Since(begun))
	}
	return nil
}

// storedBytes is what a store has on disk once its log has been turned into tables: opening it again does that.
func storedBytes(ctx context.Context, data string) (bytes uint64, err error) {
	store, err := embedded.Open(embedded.Config{Dir: filepath.Join(data, stores.StoreName)})
	if err != nil {
		return 0, err
	}
	stats, err := store.Stats(ctx)
	return stats.Bytes, errors.Join(err, store.Close())
}

// heap is how much memory is in use by what can be reached.
func heap() (bytes uint64) {
	runtime.GC()
	runtime.GC() // what the first one finalised
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}
