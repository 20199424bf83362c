package cmd

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"example.com/life/actors/storage"
	"example.com/life/adapters/embedded"
	"example.com/life/adapters/eventstore"
	"example.com/life/sagas"
)

// TestErrorCodes: an error of this process has a code that says what it is, however deep it is wrapped, and docs/api.md lists the code.
func TestErrorCodes(t *testing.T) {
	page, err := os.ReadFile("../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	_, missing := os.Open("not here")
	for _, c := range []struct {
		err  error
		code string
	}{
		{usage("what?"), "usage"},
		{&exit{exitWaiting, errors.New("not approved")}, "waiting"},
		{&exit{exitCancelled, errors.New("left")}, "cancelled"},
		{&codedError{"settings", errors.New("store is x")}, "settings"},
		{&exit{exitError, coded("differs", "in 3 places")}, "differs"},
		{&embedded.HeldError{PID: 1}, "held"},
		{&elsewhere{}, "conflict"},
		{&storage.HalfError{What: "a copy"}, "unfinished"},
		{embedded.ErrImport, "conflict"},
		{&eventstore.AddressError{}, "settings"},
		{&eventstore.AwayError{}, "unavailable"},
		{&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, "unavailable"},
		{&sagas.RefusalError{Code: sagas.RefusedState}, "conflict"},
		{storage.ErrFull, "full"},
		{missing, "not_found"},
		{fs.ErrExist, "exists"},
		{&fs.PathError{Op: "open", Path: "x", Err: syscall.EACCES}, "permission"},
		{&fs.PathError{Op: "read", Path: "x", Err: syscall.EISDIR}, "io"},
		{io.ErrUnexpectedEOF, "io"},
		{syscall.EPIPE, "io"},
		{errors.New("anything else"), "internal"},
	} {
		for _, wrapped := range []error{c.err, fmt.Errorf("read the notes: %w", c.err), errors.Join(c.err, errors.New("and close"))} {
			if got := codeOf(wrapped); got != c.code {
				t.Errorf("%T, %v: code %s, want %s", c.err, wrapped, got, c.code)
			}
		}
		if !strings.Contains(string(page), "`"+c.code+"`") {
			t.Errorf("docs/api.md does not list the code %s", c.code)
		}
	}
	verbs, err := fs.Glob(os.DirFS("."), "*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range verbs {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, code := range regexp.MustCompile(`coded(?:Error\{|\()"(\w+)"`).FindAllStringSubmatch(string(source), -1) {
			if !strings.Contains(string(page), "`"+code[1]+"`") {
				t.Errorf("docs/api.md does not list the code %s of %s", code[1], file)
			}
		}
	}
}
