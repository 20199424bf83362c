package cmd

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// askPassword reads the first line of a file. On a terminal it asks for it, and does not show what is typed.
func (a *app) askPassword(ctx context.Context, in *os.File) (_ string, err error) {
	shown, err := unix.IoctlGetTermios(int(in.Fd()), unix.TCGETS)
	if err != nil { // no terminal
		return passwordLine(in)
	}
	hidden := *shown
	hidden.Lflag = hidden.Lflag&^unix.ECHO | unix.ECHONL
	if err := unix.IoctlSetTermios(int(in.Fd()), unix.TCSETS, &hidden); err != nil {
		return "", fmt.Errorf("hide the password: %w", err)
	}
	defer func() { err = errors.Join(err, unix.IoctlSetTermios(int(in.Fd()), unix.TCSETS, shown)) }()
	fmt.Fprint(a.errs, "password: ")
	type line struct {
		text string
		err  error
	}
	typed := make(chan line, 1)
	go func() { // nothing ends a read of a terminal but its user: after Ctrl-C this one ends with the process
		text, err := passwordLine(in)
		typed <- line{text, err}
	}()
	select {
	case l := <-typed:
		return l.text, l.err
	case <-ctx.Done():
		fmt.Fprintln(a.errs)
		return "", ctx.Err()
	}
}

func passwordLine(in io.Reader) (string, error) {
	text, err := bufio.NewReader(io.LimitReader(in, 4<<10)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("read the password: %w", err)
	}
	return strings.TrimRight(text, "\r\n"), nil
}
