package cmd

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"example.com/life/actors"
	"example.com/life/adapters/api"
	"example.com/life/events"
	"example.com/life/sagas"
)

// console is a terminal at which a person can be asked.
type console struct {
	lines *bufio.Reader
	out   io.Writer
}

// newConsole returns the console of a process whose standard input and standard error are terminals; else nil.
func newConsole(in *os.File, errs io.Writer) *console {
	if !terminal(in) || !terminal(errs) {
		return nil
	}
	return newConsoleOn(in, errs)
}

func newConsoleOn(in io.Reader, out io.Writer) *console { return &console{bufio.NewReader(in), out} }

// The answers of a person at a console.
const (
	saidYes   = "yes"
	saidNo    = "no"
	saidLater = ""
)

// ask shows a call and asks whether it may run.
func (a *app) ask(ctx context.Context, host api.Host, q *asked) string {
	most := shownArguments
	for {
		left := a.printCall(a.console.out, q, most)
		more := ""
		if left > 0 {
			more = fmt.Sprintf(", s to show the %d bytes that are left out", left)
		}
		fmt.Fprintf(a.console.out, "Run it? y or n%s, Enter to decide later: ", more)
		answer, err := a.console.line(ctx)
		switch answer = strings.ToLower(answer); {
		case err != nil:
			fmt.Fprintln(a.console.out)
			return saidLater
		case answer == "y" || answer == saidYes:
			return saidYes
		case answer == "n" || answer == saidNo:
			return saidNo
		case answer == "s" || answer == "show":
			if most = allArguments; q.complete(ctx, host) != nil {
				fmt.Fprintln(a.console.out, "all of it cannot be read at the moment")
			}
		case answer == "":
			return saidLater
		}
	}
}

// askQuestion shows a question and reads the answer; empty: later.
func (a *app) askQuestion(ctx context.Context, q *asked) string {
	a.printCall(a.console.out, q, shownArguments)
	fmt.Fprint(a.console.out, "Your answer, or Enter to answer later: ")
	answer, err := a.console.line(ctx)
	if err != nil {
		fmt.Fprintln(a.console.out)
		return ""
	}
	return answer
}

// line reads one line. A person who interrupts has given none.
func (c *console) line(ctx context.Context) (string, error) {
	type read struct {
		text string
		err  error
	}
	done := make(chan read, 1)
	go func() { // ends with the process if the person says nothing any more
		text, err := c.lines.ReadString('\n')
		done <- read{text, err}
	}()
	select {
	case r := <-done:
		return strings.TrimSpace(r.text), r.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// confirm shows what an answer that named no turn is about, and asks on a terminal whether it is meant.
func (a *app) confirm(ctx context.Context, host api.Host, q *asked) error {
	if a.console == nil {
		fmt.Fprintln(a.errs, "approving what waits now:")
		a.printShow(a.errs, q, a.printCall(a.errs, q, shownArguments))
		return nil
	}
	if a.ask(ctx, host, q) != saidYes {
		return &exit{exitWaiting, fmt.Errorf("call %s of %s was not approved", q.Call, q.Turn)}
	}
	return nil
}

// attend is await, and asks the person at the console about each call that waits.
func (a *app) attend(ctx context.Context, host api.Host, agent events.AgentID, v *view, act func() (actors.Receipt, error)) (result, error) {
	later := map[string]bool{} // by turn and call
	for {
		r, err := a.await(ctx, host, agent, v, act)
		if err != nil || a.console == nil || v.asJSON || r.Outcome != "" {
			return r, err
		}
		var command sagas.Command
		for i := range r.Asked {
			q := &r.Asked[i]
			key := string(q.Turn) + " " + string(q.Call)
			if later[key] {
				continue
			}
			if q.Question != nil {
				text := a.askQuestion(ctx, q)
				if text == "" {
					later[key] = true
					continue
				}
				command = sagas.Answer{Meta: newMeta(""), Turn: q.Turn, Call: q.Call, Digest: q.Digest, Answer: text, By: a.person()}
				break
			}
			switch a.ask(ctx, host, q) {
			case saidYes:
				command = sagas.Approve{Meta: newMeta(""), Turn: q.Turn, Call: q.Call, Digest: q.Digest, Again: q.Lost, By: a.person()}
			case saidNo:
				command = sagas.Deny{Meta: newMeta(""), Turn: q.Turn, Call: q.Call, Digest: q.Digest, By: a.person()}
			case saidLater:
				later[key] = true
				continue
			}
			break
		}
		if command == nil {
			return r, nil
		}
		act = func() (actors.Receipt, error) { return host.Do(ctx, events.AgentStream(agent), command, origin()) }
	}
}
