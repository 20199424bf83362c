package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"example.com/life/adapters/sandbox/supervisor"
)

// Report is what was found out about this host.
type Report struct {
	Level    Level    // at which commands run
	Reasons  []string // why it is no better one, level by level
	UID      int      // as which commands run
	Landlock int      // the version of its interface; 0: there is none
	Refused  error
}

// Probe tries the levels, until that has told what this host can do. What was in the way for the moment says nothing of it: then commands are
// refused, rather than confined less, and the next one tries again.
func (s *Sandbox) Probe(ctx context.Context) Report {
	s.probing.Lock()
	defer s.probing.Unlock()
	if s.probed {
		return s.report
	}
	s.report = s.probe(context.WithoutCancel(ctx))
	r := s.report
	var passing *notNowError
	s.probed = !errors.As(r.Refused, &passing)
	switch {
	case r.Refused != nil:
		s.config.Log.Error("commands are not run", "error", r.Refused)
	case r.Level == LevelHost:
		s.config.Log.Warn("commands are not confined: the sandbox is switched off")
	case r.Level < LevelNamespaces:
		s.config.Log.Warn("commands are confined less than they could be", "level", r.Level.String(), "because", strings.Join(r.Reasons, "; "))
	}
	return s.report
}

// notNowError says that a level could not be tried.
type notNowError struct {
	level Level
	err   error
}

// Error implements error.
func (n *notNowError) Error() string {
	return fmt.Sprintf("no command is run for the moment, because it is not known whether it would be confined (%v): %v", n.level, n.err)
}

// Unwrap returns what was in the way.
func (n *notNowError) Unwrap() error { return n.err }

// passes reports an error that tells nothing of what this host can do: a supervisor was killed, or something is missing until other programs let go of
// it. What the supervisor reports is in words; and where no user
// namespaces are allowed, making one fails as if a disk were full.
func passes(err error) bool {
	if errors.Is(err, supervisor.ErrKilled) {
		return true
	}
	words := strings.ToLower(err.Error())
	for _, errno := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.EAGAIN, syscall.EDQUOT, syscall.ENOSPC} {
		if strings.Contains(words, errno.Error()) {
			return errno != syscall.ENOSPC || !strings.Contains(words, "fork/exec")
		}
	}
	return false
}

func (s *Sandbox) probe(ctx context.Context) Report {
	r := Report{UID: os.Geteuid(), Landlock: landlockABI()}
	if as := identity(); as != nil {
		r.UID = as.UID
	}
	candidates := map[Mode][]Level{ModeAuto: {LevelNamespaces, LevelLandlock}, ModeNamespaces: {LevelNamespaces}, ModeLandlock: {LevelLandlock}}[s.config.Mode]
	for _, level := range candidates {
		err := s.try(ctx, level, r.Landlock)
		for range trials - 1 {
			if err != nil && !passes(err) {
				err = s.try(ctx, level, r.Landlock)
			}
		}
		if err == nil {
			r.Level = level
			break
		}
		if passes(err) {
			r.Refused = &notNowError{level, err}
			return r
		}
		r.Reasons = append(r.Reasons, fmt.Sprintf("%v: %v", level, err))
	}
	need := s.config.MinLevel
	if len(candidates) == 1 {
		need = candidates[0]
	}
	if s.config.Mode != ModeOff && (r.Level == LevelHost || r.Level < need) {
		r.Refused = &UnavailableError{Have: r.Level, Need: max(need, LevelLandlock), Reasons: r.Reasons}
	}
	return r
}

// trials is how often a level is tried before it is taken for one that this host does not have: less protection has to be more than an accident.
const trials = 3

// trial writes in the workspace, and ends with a status of its own for each thing that should be out of reach and is not.
const trial = `echo in > in && mkdir d && mv in d/in && read -r x < d/in && [ "$x" = in ] || exit 40
(echo out > "$1/written") 2>/dev/null && exit 41
(read -r x < "$1/secret") 2>/dev/null && exit 42
(exec 3<>"/dev/tcp/127.0.0.1/$2") 2>/dev/null && exit 43
[ "$EUID" != 0 ] || exit 44
exit 0`

// found says what the statuses of trial mean.
func found(status int) string {
	return map[int]string{
		40: "the workspace cannot be written", 41: "files outside the workspace can be written", 42: "files outside the workspace can be read",
		43: "the network of the host can be reached", 44: "commands run as root",
	}[status]
}

// try runs a command at a level, which tries what it must be able to do and what it must not.
func (s *Sandbox) try(ctx context.Context, level Level, abi int) error {
	if level == LevelLandlock && abi < leastABI {
		return fmt.Errorf("the kernel has version %d of Landlock, and %d is needed", abi, leastABI)
	}
	top, err := os.MkdirTemp("", "life-sandbox-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(top) }() //nolint:errcheck // nothing depends on it
	if top, err = filepath.EvalSymlinks(top); err != nil {
		return err
	}
	dir := func(name string) string { return filepath.Join(top, name) }
	for _, name := range []string{"workspace", "home", "tmp", "outside"} {
		if err := os.Mkdir(dir(name), 0o777); err != nil {
			return err
		}
	}
	if level == LevelLandlock && identity() != nil { // then the workspace must belong to whom commands run as
		if err := errors.Join(os.Chmod(top, 0o755), os.Chown(dir("workspace"), nobody().UID, nobody().GID)); err != nil {
			return err
		}
	}
	if err := errors.Join(os.WriteFile(filepath.Join(dir("outside"), "secret"), []byte("secret\n"), 0o666), os.Chmod(dir("outside"), 0o777)); err != nil {
		return err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer func() { _ = listener.Close() }() //nolint:errcheck // nothing depends on it
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		return err
	}
	var output bytes.Buffer
	exit, err := s.runAt(ctx, Command{
		Path: "/bin/bash", Args: []string{"-c", trial, "trial", dir("outside"), port},
		Workspace: dir("workspace"), Home: dir("home"), Temp: dir("tmp"), Output: &output,
	}, level)
	switch {
	case err != nil:
		return err
	case exit.Code != 0:
		return fmt.Errorf("%s (exit status %d, signal %d): %s", found(exit.Code), exit.Code, exit.Signal, strings.TrimSpace(output.String()))
	}
	return nil
}
