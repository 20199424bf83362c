// Package cmd is the command line of life, as a library, so that a program of another module can extend life (see [Config]).
// The binary itself is cmd/life.
//
// A verb parses its flags, connects to a host (reach.go: a running life serve, or the data directory itself), calls it, and prints the
// result: results go to standard output, everything else to standard error, so that a result can be piped. Every verb that reads has
// --json.
//
// A verb uses a host through api.Host, whether the host runs in this process or elsewhere. The settings are the list in settings.go:
// each line there is a flag, an environment variable, a key of the configuration file and a line of life doctor. To add a verb, write
// a function that returns its command, and list it in root.go.
package cmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"example.com/life/actors/storage"
	"example.com/life/adapters/api"
	"example.com/life/adapters/embedded"
	"example.com/life/adapters/eventstore"
	"example.com/life/cmd/catalogue"
	"example.com/life/events"
	"example.com/life/projections"
	"example.com/life/sagas"
)

// Config says what this build of life is.
type Config struct {
	Version     string             // what life version prints
	Projections []projections.Spec // besides projections.Catalog, see docs/extend.md
}

// The exit statuses.
const (
	exitDone      = 0
	exitError     = 1   // something went wrong; the error says what
	exitUsage     = 2   // the command line makes no sense
	exitStopped   = 3   // the turn was stopped by a limit, a loop or a refusal
	exitFailed    = 4   // the turn failed: the model could not be asked
	exitWaiting   = 5   // the turn waits for a person
	exitCancelled = 130 // the turn was cancelled, or the verb interrupted
)

// app is what every verb has at hand.
type app struct {
	out, errs io.Writer
	console   *console // nil: nobody can be asked
	getenv    func(string) string
	log       *slog.Logger
	build     Config
	config    config
	secrets   knownSecrets
}

// Main runs the command line that the process was started with, and exits with its status.
func Main(build Config) {
	tune(os.Getenv)
	insist(os.Stderr)
	os.Exit(start(build, os.Args[1:], os.Stdout, os.Stderr))
}

// insistTime is what a verb has to end by itself after the second interrupt.
const insistTime = 3 * time.Second

// insist ends the process after the second interrupt, whatever it waits for: a store, a disk, a pipe that nobody reads. What is stored
// stays stored: leaving is as safe as being killed.
func insist(errs io.Writer) {
	interrupts := make(chan os.Signal, 2)
	signal.Notify(interrupts, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-interrupts
		<-interrupts
		<-time.After(insistTime)
		go fmt.Fprintln(errs, "life: interrupted twice: leaving at once") // it may block, too
		<-time.After(insistTime / 30)
		os.Exit(exitCancelled)
	}()
}

// tune sets the runtime up for a host, where the environment does not say otherwise. A thread that waits for the disk keeps its
// processor for a while, and one always waits: two more processors than there are keep the others at work (a fifth more turns a
// second on 2 cores). Collecting garbage at four times the live heap costs memory that agents do not need for long (a tenth more).
func tune(getenv func(string) string) {
	if getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + 2)
	}
	if getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}
}

// start runs one command line and returns its exit status.
func start(build Config, args []string, out, errs io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	results := &output{to: out, shown: terminal(out)}
	out, errs = results, &output{to: errs, shown: terminal(errs)}
	a := &app{out: out, errs: errs, console: newConsole(os.Stdin, errs), getenv: os.Getenv, log: slog.New(slog.DiscardHandler), build: build}
	root := newRoot(a)
	root.SetArgs(args)
	root.SetOut(out)
	root.SetErr(errs)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		err = results.problem()
	}
	var status *exit
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &status):
		if status.err != nil {
			a.report(cmd, args, err, a.guess(ctx, cmd, err))
		}
		return status.code
	case errors.Is(err, context.Canceled) && ctx.Err() != nil:
		return exitCancelled
	}
	a.report(cmd, args, err, cmp.Or(a.guess(ctx, cmd, err), remedy(err)))
	return exitError
}

// report says on standard error what went wrong and what to type next. Who asked for JSON gets it as one JSON object on one line.
func (a *app) report(cmd *cobra.Command, args []string, err error, next string) {
	asJSON := slices.Contains(args, "--json") // also where the flags could not be parsed
	if flag := cmd.Flags().Lookup("json"); flag != nil && flag.Changed {
		asJSON = flag.Value.String() == "true"
	}
	if !asJSON {
		fmt.Fprintln(a.errs, "life: "+err.Error()+next)
		return
	}
	failed := failure{Code: codeOf(err), Message: err.Error(), Next: strings.TrimSpace(next)}
	text, problem := events.PlainJSON(map[string]failure{"error": failed})
	if problem != nil { // strings always encode
		text = []byte(problem.Error())
	}
	fmt.Fprintln(a.errs, string(text))
}

// failure is an error as JSON.
type failure struct {
	Code    string `json:"code"` // as over HTTP, or of this process (docs/api.md lists both)
	Message string `json:"message"`
	Next    string `json:"next,omitempty"` // what to type next
}

// codedError is an error of this process that programs decide by.
type codedError struct {
	code string
	err  error
}

func (e *codedError) Error() string { return e.err.Error() }
func (e *codedError) Unwrap() error { return e.err }

// coded is an error with a code, of those that docs/api.md lists.
func coded(code, format string, args ...any) error {
	return &codedError{code, fmt.Errorf(format, args...)}
}

// codeOf is the code of an error: what the verb says of it, what the API says of it, or what it is to this process.
func codeOf(err error) string {
	var (
		said   *codedError
		status *exit
		held   *embedded.HeldError
		half   *storage.HalfError
		other  *elsewhere
		away   *eventstore.AwayError
		wrong  *eventstore.AddressError
		lost   *net.OpError
		number syscall.Errno
		path   *fs.PathError
	)
	if errors.As(err, &status) && status.code == exitUsage {
		return "usage"
	}
	if errors.As(err, &said) && said.code != "" {
		return said.code
	}
	for _, local := range []struct {
		is   bool
		code string
	}{
		{status != nil && status.code == exitWaiting, "waiting"},
		{status != nil && status.code == exitCancelled, "cancelled"},
		{errors.As(err, &held), "held"},
		{errors.As(err, &other), "conflict"},
		{errors.As(err, &half), "unfinished"},
		{errors.Is(err, embedded.ErrImport), "conflict"},
		{errors.Is(err, catalogue.ErrInvalid), "invalid"},
		{errors.As(err, &wrong), "settings"},
		{errors.As(err, &away), "unavailable"},
		{api.CodeOf(err) != api.CodeInternal, api.CodeOf(err)},
		{errors.Is(err, fs.ErrNotExist), "not_found"},
		{errors.Is(err, fs.ErrExist), "exists"},
		{errors.Is(err, fs.ErrPermission), "permission"},
		{errors.As(err, &lost), "unavailable"},
		{errors.As(err, &path), "io"},
		{errors.As(err, &number), "io"},
		{errors.Is(err, io.ErrUnexpectedEOF), "io"},
		{errors.Is(err, io.ErrShortWrite), "io"},
	} {
		if local.is {
			return local.code
		}
	}
	return api.CodeInternal
}

// exit is an error that chooses the exit status. Without an error of its own nothing is printed: everything has been said.
type exit struct {
	code int
	err  error
}

func (e *exit) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit status %d", e.code)
	}
	return e.err.Error()
}

func (e *exit) Unwrap() error { return e.err }

// usage is an error of the command line.
func usage(format string, args ...any) error {
	return &exit{exitUsage, fmt.Errorf(format, args...)}
}

// remedy says what to type next after an error that has a usual one.
func remedy(err error) string {
	var refusal *sagas.RefusalError
	switch {
	case errors.As(err, &refusal) && refusal.Code == sagas.RefusedMissing:
		return missing(refusal.Detail)
	case errors.As(err, &refusal) && refusal.Code == sagas.RefusedMismatch:
		return "\n" +
			"  life agents shows what is waiting for approval"
	case errors.Is(err, storage.ErrFull):
		return "\n  free some space on the disk and try again: nothing is damaged"
	case errors.Is(err, storage.ErrCorrupt) && !strings.Contains(err.Error(), "open the embedded store"): // which check needs too
		return "\n" +
			"  life store check lists all damage"
	}
	return ""
}

// missing says what to type when something is not there. Refusals come over HTTP too, as a code and words: the words say what.
func missing(what string) string {
	switch {
	case strings.HasPrefix(what, "there is no wallet ") || strings.HasPrefix(what, "the wallet "):
		return "\n" +
			"  life wallet open NAME --with DOLLARS opens one; main is opened automatically when it is first needed"
	case strings.HasPrefix(what, "there is no poisoned command "):
		return "\n" +
			"  life commands poisoned list lists them"
	case strings.HasPrefix(what, "there is no projection ") || strings.HasPrefix(what, "there is no declared projection "):
		return "\n  life projections list lists the projections"
	case strings.HasPrefix(what, "there is no note "):
		return "\n  life knowledge search WORDS finds notes"
	case strings.HasPrefix(what, "there is no event at position "):
		return "\n  life projections show NAME says where a projection stopped"
	case strings.HasPrefix(what, projections.ErrMissing.Error()):
		return "" // it says itself what to do
	case strings.Contains(what, " ends at revision "):
		return "\n  life history AGENT lists the revisions"
	}
	if !strings.Contains(what, "agent") {
		return ""
	}
	return "\n" +
		"  life agents --all lists all agents, life agents create NAME creates one"
}
