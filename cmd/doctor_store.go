package cmd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"example.com/life/actors/storage"
	"example.com/life/adapters/blobs"
	"example.com/life/adapters/embedded"
	"example.com/life/adapters/eventstore"
	"example.com/life/cmd/stores"
	"example.com/life/events"
)

// examineStore looks at the store that the settings name, and at the data directory.
func (a *app) examineStore(ctx context.Context) []finding {
	at := a.place()
	if at.Embedded() {
		return []finding{a.examineData()}
	}
	return []finding{a.examineBeside(), a.examineAddress(ctx, at), a.examineAddressSecret()}
}

// examineData opens the data directory, if there is one: that is what finds out whether it can be used.
func (a *app) examineData() finding {
	const check = "data directory"
	data := a.config.get("data")
	store := filepath.Join(data, stores.StoreName)
	if _, err := os.Stat(store); errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return examineNew(check, data)
	}
	opened, err := embedded.Open(embedded.Config{Dir: store})
	var held *embedded.HeldError
	var half *storage.HalfError
	switch {
	case errors.As(err, &held):
		where, err := readServing(data)
		if err == nil && where.PID == held.PID {
			return finding{Check: check, OK: true, Detail: fmt.Sprintf("%s is held by life serve, process %d", data, held.PID)}
		}
		return wrong(check, fmt.Sprintf("%s is held by process %d, which serves no API", data, held.PID), fmt.Sprintf("wait until it exits, or stop it: kill %d", held.PID))
	case errors.As(err, &half):
		return wrong(check, fmt.Sprintf("%s holds half %s", data, half.What), half.Finish)
	case err != nil:
		return wrong(check, err.Error(), "make the directory readable and writable for this user, or restore it from a backup")
	}
	_, full := opened.Append(context.Background(), events.AgentStream("doctor"), storage.ExpectAny, nil) // an empty one only checks
	problem := writableBlobs(data)
	if err := opened.Close(); err != nil {
		return wrong(check, err.Error(), "check the disk's health")
	}
	if full != nil {
		return wrong(check, full.Error(), "until then it can be read: life agents, life history, life verify and life store export work")
	}
	if problem != nil {
		return wrong(check, problem.Error(), "make the directory readable and writable for this user, or restore it from a backup")
	}
	return finding{Check: check, OK: true, Detail: data + " is usable"}
}

// examineNew is about a data directory that has nothing in it yet.
func examineNew(check, data string) finding {
	parent := existing(data)
	if info, err := os.Stat(parent); err != nil || !info.IsDir() {
		return wrong(check, fmt.Sprintf("%s cannot be used: %s is not a directory", data, parent), "choose another one with --data or LIFE_DATA, or move that file away")
	}
	if err := unix.Access(parent, unix.W_OK|unix.X_OK); err != nil {
		return wrong(check, fmt.Sprintf("%s cannot be created: %s: %v", data, parent, err), "create it, or choose another one with --data or LIFE_DATA")
	}
	return finding{Check: check, OK: true, Detail: data + " will be created when it is first needed"}
}

// examineBeside is about a data directory that holds what is not in the store: blobs, above all.
func (a *app) examineBeside() finding {
	const check = "data directory"
	data := a.config.get("data")
	if _, err := os.Stat(filepath.Join(data, stores.BlobsName)); err != nil {
		return examineNew(check, data)
	}
	if err := writableBlobs(data); err != nil {
		return wrong(check, err.Error(), "make the directory readable and writable for this user")
	}
	return finding{Check: check, OK: true, Detail: data + " is usable, for blobs: hosts on other machines that use the same store need the same blobs"}
}

// writableBlobs opens the blobs of a data directory, and says what is in the way of more.
func writableBlobs(data string) error {
	dir := filepath.Join(data, stores.BlobsName)
	if _, err := blobs.Open(dir); err != nil {
		return err
	}
	if err := unix.Access(dir, unix.W_OK); err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	return nil
}

// doctorTime is what life doctor gives EventStoreDB to answer, and then to be read and written to.
const doctorTime = 5 * time.Second

// examineAddress asks the EventStoreDB what verbs need of it. It writes nothing.
func (a *app) examineAddress(ctx context.Context, at stores.Location) finding {
	const check = "store"
	at.Patience, at.Say = doctorTime, nil
	store, err := at.Connect(ctx, slog.New(slog.DiscardHandler))
	if err != nil {
		return storeTrouble(check, "", err)
	}
	ctx, cancel := context.WithTimeout(ctx, doctorTime)
	defer cancel()
	found := examineOpen(ctx, check, at, store)
	if err := store.Close(); err != nil {
		return wrong(check, err.Error(), "")
	}
	return found
}

func examineOpen(ctx context.Context, check string, at stores.Location, store storage.Journal) finding {
	page, err := store.ReadAll(ctx, storage.End(), storage.Backward, storage.Filter{}, storage.Limit{Events: 1})
	if err != nil {
		return storeTrouble(check, fmt.Sprintf("%s cannot be read: ", at), err)
	}
	switch half, err := stores.HalfCopied(ctx, store); {
	case err != nil:
		return storeTrouble(check, fmt.Sprintf("%s cannot be read: ", at), err)
	case half != "":
		return wrong(check, fmt.Sprintf("%s holds half a copy", at), half)
	}
	// An empty append only checks that this user may append.
	if _, err := store.Append(ctx, events.AgentStream("doctor"), storage.ExpectAny, nil); err != nil {
		return storeTrouble(check, fmt.Sprintf("%s cannot be written to: ", at), err)
	}
	detail := fmt.Sprintf("%s responds, and can be read and written", at)
	if len(page.Events) > 0 {
		detail += ", newest event of " + clock(page.Events[0].Time)
	}
	return finding{Check: check, OK: true, Detail: detail}
}

// storeTrouble is an error of an EventStoreDB, with what helps against its kind.
func storeTrouble(check, what string, err error) finding {
	var mistake *eventstore.AddressError
	var away *eventstore.AwayError
	switch {
	case errors.As(err, &mistake):
		return wrong(check, what+mistake.Problem, mistake.Remedy+" (the settings store and store_credentials_file)")
	case errors.As(err, &away):
		return wrong(check, what+away.Problem(), away.Remedy()+" (the setting store)")
	}
	return wrong(check, what+err.Error(), "correct the setting store; an address looks like esdb://127.0.0.1:2113, with ?tls=false if the server has no TLS")
}

// examineAddressSecret is about files with passwords that others can read.
func (a *app) examineAddressSecret() finding {
	const check = "credentials"
	store, path := a.config.find("store"), a.config.get("store-credentials-file")
	_, rest, _ := strings.Cut(store.value, "://")
	switch {
	case path == "" && stores.UserEnd(rest) == 0:
		return finding{Check: check, OK: true, Detail: "none: requests to the store carry no user"}
	case path == "" && !strings.HasPrefix(store.source, a.config.file+",") || a.config.file == "" && path == "":
		return finding{Check: check, OK: true, Detail: "in the environment"}
	case path == "":
		path = a.config.file
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return wrong(check, err.Error(), "write user:password into it")
	case info.Mode().Perm()&0o077 != 0:
		return finding{Check: check, Detail: fmt.Sprintf("%s can be read by others (%s)", path, info.Mode().Perm()), Remedy: "chmod 600 " + quote(path)}
	}
	return finding{Check: check, OK: true, Detail: "in " + path}
}
