// Package sandbox runs the commands of agents so that they reach their workspace and little else.
//
// How well it confines them is a [Level]. The best one that works here is found by trying (probe.go), never by looking at settings of the kernel, when the
// first command is to run. Nothing is degraded in silence: every result says at which level its command ran, and with less than the configured level
// no command runs at all.
//
// At [LevelNamespaces] a command has namespaces of its own and a file tree that is made of what it may see (view.go). In it, at every level, Landlock, a
// filter of system calls (seccomp.go), no capabilities and limits. It never runs as root: where the host is root, it runs as another user, to whom the
// workspace is shown as their own (identity.go).
//
// Package supervised has the process between the host and the command. It imports the standard library alone, and says why.
package sandbox

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"example.com/life/adapters/fspolicy"
	"example.com/life/adapters/network"
	"example.com/life/adapters/sandbox/supervised"
	"example.com/life/adapters/sandbox/supervisor"
	"example.com/life/events"
)

// Level says how well commands are confined.
type Level int

// The levels, from none to the best.
const (
	LevelHost       Level = iota // by limits alone: commands can do what the host can
	LevelLandlock                // Landlock and a filter of system calls
	LevelBwrap                   // namespaces by way of bubblewrap, where Life may make none itself
	LevelNamespaces              // namespaces, and within them Landlock and the filter
)

// String is the level's name, as in history.
func (l Level) String() string { return [...]string{"host", "landlock", "bwrap", "namespaces"}[l] }

// Mode is what the configuration says of the level.
type Mode string

// The modes.
const (
	ModeAuto       Mode = "auto" // the best level that works
	ModeNamespaces Mode = "ns"
	ModeLandlock   Mode = "landlock"
	ModeOff        Mode = "off" // no confinement
)

// Modes lists them.
func Modes() []Mode { return []Mode{ModeAuto, ModeNamespaces, ModeLandlock, ModeOff} }

// Config says how commands are run.
type Config struct {
	Mode     Mode             // empty: auto
	MinLevel Level            // below it no command runs, unless the mode is off
	Hidden   []string         // directories that no command reaches, also where the workspace holds them
	Readable []string         // files and directories besides the system's that commands may read
	Policy   *fspolicy.Policy // of what is protected in workspaces; nil: what is built in
	Path     string           // where commands look for programs: those directories can be read
	Network  *network.Policy  // of what commands may reach; nil: nothing
	Log      *slog.Logger
}

// Command is what to run.
type Command struct {
	Path      string
	Args      []string // after the name
	Env       []string // all of it but PATH, HOME, TMPDIR and PWD
	Workspace string   // an absolute path: the directory to run in, where the command may do as it likes
	given     string   // the same with symbolic links in it
	Home      string   // an absolute path: HOME
	Temp      string   // an absolute path: what the command finds as TMPDIR
	Output    io.Writer
	Pipes     *supervised.Pipes    // nil: it has no input, and all that it prints goes to Output
	Watchdog  *supervised.Watchdog // nil: it runs as long as the host lives
}

// Exit says how a command ended.
type Exit struct {
	supervisor.Exit
	Level    Level
	Confined string   // BLAKE3 of what confined it: equal for what could reach the same; empty: nothing did
	Network  []string // what it reached and what was refused, a line for each place
}

// Sandbox runs commands. It is safe for concurrent use.
type Sandbox struct {
	config Config
	users  users
	spares spares

	probing sync.Mutex // guards the next two
	probed  bool
	report  Report

	memory, freeDisk uint64 // limits of each command, in bytes
}

// Close ends what waits for commands. No command is run any more.
func (s *Sandbox) Close() { s.spares.close() }

// usualPath is PATH where the configuration has none.
const usualPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// New returns a sandbox. What works here is found out when it is first needed.
func New(c Config) (*Sandbox, error) {
	c.Mode, c.Path = cmp.Or(c.Mode, ModeAuto), cmp.Or(c.Path, usualPath)
	if !slices.Contains(Modes(), c.Mode) {
		return nil, fmt.Errorf("configure the sandbox: there is no mode %q", c.Mode)
	}
	if c.Policy == nil {
		c.Policy = &fspolicy.Policy{}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Sandbox{config: c, memory: memoryLimit(), freeDisk: leastDisk}, nil
}

// UnavailableError says that commands cannot be confined as well as they must be. None runs.
type UnavailableError struct {
	Have, Need Level
	Reasons    []string // why there is nothing better
}

// Error implements error.
func (e *UnavailableError) Error() string {
	return fmt.Sprintf("sandbox_unavailable: no command is run, because this host can confine commands at level %d (%v) and %d (%v) is needed: %s; life doctor shows what is missing",
		e.Have, e.Have, e.Need, e.Need, strings.Join(e.Reasons, "; "))
}

// Run runs a command and returns when nothing of it is left. When ctx ends first, the error is the context's.
func (s *Sandbox) Run(ctx context.Context, c Command) (Exit, error) {
	report := s.Probe(ctx)
	if err := ctx.Err(); err != nil {
		return Exit{}, err
	}
	if report.Refused != nil {
		return Exit{Level: report.Level}, report.Refused
	}
	return s.runAt(ctx, c, report.Level)
}

func (s *Sandbox) runAt(ctx context.Context, c Command, level Level) (Exit, error) {
	exit := Exit{Level: level}
	var err error
	c.given = filepath.Clean(c.Workspace)
	if c.Workspace, err = filepath.EvalSymlinks(c.Workspace); err != nil {
		return exit, fmt.Errorf("the workspace cannot be opened: %w", err)
	}
	for _, dir := range []*string{&c.Home, &c.Temp} {
		if err := os.MkdirAll(*dir, 0o700); err != nil {
			return exit, fmt.Errorf("make a home for commands: %w", err)
		}
		if *dir, err = filepath.EvalSymlinks(*dir); err != nil {
			return exit, fmt.Errorf("make a home for commands: %w", err)
		}
	}
	confinement, temp, err := s.confine(c, level)
	if err != nil {
		return exit, fmt.Errorf("confine the command: %w", err)
	}
	if confinement != nil {
		encoded, err := json.Marshal(confinement)
		if err != nil {
			return exit, fmt.Errorf("confine the command: %w", err)
		}
		exit.Confined = events.HashBytes(encoded)
	}
	env := append(slices.Clone(c.Env), "PATH="+s.config.Path, "HOME="+c.Home, "TMPDIR="+temp, "PWD="+c.given)
	proxied := s.proxied(level)
	exit.Exit, err = s.spares.run(ctx, supervised.Command{
		Path: c.Path, Args: c.Args, Dir: c.Workspace, Env: append(env, proxied.env...), Output: c.Output, Pipes: c.Pipes, Confinement: confinement, Watchdog: c.Watchdog,
		Listening: proxied.serve,
	})
	exit.Network = proxied.close()
	if confinement != nil {
		for _, file := range confinement.Files {
			err = errors.Join(err, file.Close())
		}
	}
	return exit, err
}
