package cmd

import (
	"encoding/json"
	"fmt"
	"os/exec"

	"github.com/rogpeppe/go-internal/testscript"

	"example.com/life/actors/projector"
)

// stoppedAt sets a variable to the position of the event at which a projection stopped.
func stoppedAt(ts *testscript.TestScript, _ bool, args []string) {
	cmd := exec.Command(lookPath(ts), "projections", "show", args[0], "--json")
	cmd.Env = environment(ts)
	out, err := cmd.Output()
	ts.Check(err)
	var shown projector.Status
	ts.Check(json.Unmarshal(out, &shown))
	if shown.Stopped == nil {
		ts.Fatalf("projection %s is not stopped: %s", args[0], out)
	}
	ts.Setenv(args[1], fmt.Sprint(shown.Stopped.Position))
}

// begunKey finds the verb that a script began.
type begunKey struct{}

// begin starts a verb, and halt ends it, whatever has become of it.
func begin(ts *testscript.TestScript, _ bool, args []string) {
	cmd := exec.Command(lookPath(ts), args...)
	cmd.Env, cmd.Dir = environment(ts), ts.MkAbs(".")
	ts.Check(cmd.Start())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // it may have been killed, and need not
	}()
	stop, ok := ts.Value(begunKey{}).(*func())
	if !ok {
		ts.Fatalf("the script's setup is missing")
	}
	*stop = func() {
		_ = cmd.Process.Kill()
		<-ended
	}
	ts.Defer(*stop)
}

func halt(ts *testscript.TestScript, _ bool, _ []string) {
	if stop, ok := ts.Value(begunKey{}).(*func()); ok && *stop != nil {
		(*stop)()
	}
}
