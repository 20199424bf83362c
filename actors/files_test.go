package actors

import (
	"fmt"
	"os"
	"syscall"
	"testing"

	"example.com/life/events"
)

// TestOutOfFilesIsOverload: that a process has too many files open says nothing about the request, which is made again.
func TestOutOfFilesIsOverload(t *testing.T) {
	for err, want := range map[error]events.ErrorClass{
		fmt.Errorf("open the script: %w", &os.PathError{Op: "open", Path: "x", Err: syscall.EMFILE}): events.ErrorOverloaded,
		fmt.Errorf("dial: %w", os.NewSyscallError("socket", syscall.ENFILE)):                         events.ErrorOverloaded,
		fmt.Errorf("open the script: %w", os.ErrNotExist):                                            events.ErrorInvalid,
	} {
		if got := replyFailed("agent-a@1", err, 0).Class; got != want {
			t.Errorf("%v is %s, want %s", err, got, want)
		}
	}
}
