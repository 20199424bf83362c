package cmd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// openTerminal returns both ends of a terminal: what its user does, and what a program sees.
func openTerminal(t *testing.T) (user, program *os.File) {
	t.Helper()
	user, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { user.Close() })
	if err := unix.IoctlSetPointerInt(int(user.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(user.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { program.Close() })
	return user, program
}

// prompted reports what was written to it first.
type prompted struct{ first chan string }

func (p prompted) Write(text []byte) (int, error) {
	select {
	case p.first <- string(text):
	default:
	}
	return len(text), nil
}

func echoes(t *testing.T, program *os.File) bool {
	t.Helper()
	termios, err := unix.IoctlGetTermios(int(program.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return termios.Lflag&unix.ECHO != 0
}

func TestAskPassword(t *testing.T) {
	user, program := openTerminal(t)
	prompt := prompted{make(chan string, 1)}
	a := &app{errs: prompt, log: slog.New(slog.DiscardHandler)}
	hidden := make(chan bool, 1)
	go func() {
		<-prompt.first
		hidden <- !echoes(t, program)
		io.WriteString(user, "correct horse\n")
	}()
	password, err := a.askPassword(t.Context(), program)
	if err != nil || password != "correct horse" {
		t.Errorf("asked, and got %q, %v", password, err)
	}
	if !<-hidden || !echoes(t, program) {
		t.Error("what is typed was shown, or is hidden for ever")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := a.askPassword(ctx, program); !errors.Is(err, context.DeadlineExceeded) || !echoes(t, program) {
		t.Errorf("interrupted: %v", err)
	}
}

func TestPasswordFromAPipe(t *testing.T) {
	for text, want := range map[string]string{"secret word\r\nmore\n": "secret word", "no end": "no end", "": ""} {
		in, out, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(out, text)
		out.Close()
		a := &app{errs: &bytes.Buffer{}}
		if got, err := a.askPassword(t.Context(), in); err != nil || got != want {
			t.Errorf("%q is read as %q, %v", text, got, err)
		}
		in.Close()
	}
}
