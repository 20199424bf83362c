package sandbox

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"testing"

	"example.com/life/adapters/sandbox/supervisor"
)

// TestPasses tells what is over in a moment, when nothing may be concluded from a failed trial, from what this host cannot do.
func TestPasses(t *testing.T) {
	start := func(errno syscall.Errno) error {
		return fmt.Errorf("start /bin/bash: %w", &os.PathError{Op: "fork/exec", Path: "/proc/self/exe", Err: errno})
	}
	for _, c := range []struct {
		err  error
		want bool
	}{
		{start(syscall.EMFILE), true},
		{start(syscall.ENOMEM), true},
		{&os.PathError{Op: "mkdir", Path: "/tmp/x", Err: syscall.ENOSPC}, true},
		{errors.New("run /bin/bash: open /proc/self/uid_map: too many open files"), true},
		{errors.New("the workspace cannot be written (exit status 40, signal 0): in: No space left on device"), true},
		{fmt.Errorf("run /bin/bash: %w", supervisor.ErrKilled), true},
		{start(syscall.ENOSPC), false}, // no user namespaces are allowed
		{start(syscall.EPERM), false},
		{errors.New("the network of the host can be reached (exit status 43, signal 0)"), false},
	} {
		if got := passes(c.err); got != c.want {
			t.Errorf("%v: %t, want %t", c.err, got, c.want)
		}
	}
}
