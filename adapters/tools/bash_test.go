package tools_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.com/life/actors"
	"example.com/life/actors/storage"
	"example.com/life/events"
)

func TestBash(t *testing.T) {
	b := newBench(t)
	b.write("a.txt", "hello\n")
	b.works("bash", args{"command": "cat a.txt; echo err >&2"}, "hello\nerr\n")
	b.works("bash", args{"command": "pwd"}, b.workspace+"\n")
	b.works("bash", args{"command": ":"}, "[no output]")
	b.works("bash", args{"command": "cat; echo $-"}, "hBc\n")
	b.works("bash", args{"command": `printf '\033[31mred\033[0m 10%%\r99%%\r100%%\r\n\a\xff\n'`}, "100%\n\uFFFD\n[bytes that are not UTF-8 are shown as U+FFFD]\n")
	b.works("bash", args{"command": "echo out; exit 3"}, "out\n[exit status 3]")
	b.works("bash", args{"command": "printf no-end; false"}, "no-end\n[exit status 1]")
	b.works("bash", args{"command": "grep nothing a.txt"}, "[exit status 1]")
	b.works("bash", args{"command": "kill -SEGV $$"}, "[a signal ended the command: segmentation fault]")
	b.works("bash", args{"command": "no-such-program"}, "/bin/bash: line 1: no-such-program: command not found\n[exit status 127]")
	b.works("bash", args{"command": "echo ("}, "/bin/bash: -c: line 1: syntax error near unexpected token `newline'\n/bin/bash: -c: line 1: `echo ('\n[exit status 2]")
	b.fails("bash", args{"command": "echo before; sleep 100", "timeout_ms": 200}, "before\n[the command was cut off after 200ms]")
}

func TestCommandsSeeNothingOfTheHost(t *testing.T) {
	t.Setenv("OPENAI_API_KEY", "sk-secret")
	t.Setenv("BASH_ENV", "/dev/stdin")
	b := newBench(t)
	text, _ := b.run("bash", args{"command": "env | sort | cut -d= -f1 | tr '\\n' ' '; cat /proc/$PPID/environ | tr '\\0' '\\n' | grep -c secret"})
	if text = strings.Replace(text, "cat: /proc/1/environ: Permission denied\n", "", 1); text != "HOME LANG PATH PWD SHLVL TERM TMPDIR _ 0\n[exit status 1]" {
		t.Errorf("a command sees %q", text)
	}
	b.works("bash", args{"command": `touch "$HOME/kept" "$TMPDIR/kept" && ls -A`}, "[no output]")
	b.works("bash", args{"command": `ls "$HOME" "$TMPDIR" | grep -c kept`}, "2\n")
}

func TestLongOutputIsCutAndKept(t *testing.T) {
	b := newBench(t)
	use := actors.ToolUse{Workspace: b.workspace, Arguments: json.RawMessage(`{"command":"seq 1 1000000; echo; exit 4"}`)}
	result, err := b.tools["bash"].Run(t.Context(), use)
	if err != nil || result.Failed || result.Full == nil {
		t.Fatalf("%+v, %v", result, err)
	}
	if size := len(result.Text); size > events.InlineLimit || size < 25_000 {
		t.Errorf("the model sees %d bytes", size)
	}
	head, rest, _ := strings.Cut(result.Text, "[…")
	note, tail, _ := strings.Cut(rest, "…]\n")
	if !strings.HasPrefix(head, "1\n2\n") || !strings.HasSuffix(head, "\n") || !strings.HasSuffix(tail, "\n1000000\n\n[exit status 4]") {
		t.Errorf("it begins %q and ends %q", head[:20], tail[max(0, len(tail)-40):])
	}
	if len(head) > 10_500 || len(tail) < 18_000 || tail[0] < '0' || tail[0] > '9' {
		t.Errorf("the beginning has %d bytes, the end %d", len(head), len(tail))
	}
	if want := fmt.Sprintf(" the output has 1000001 lines, 6888897 bytes; what is in between is not shown; all of it: blob %s ", result.Full.Hash); note != want {
		t.Errorf("the note is %q, want %q", note, want)
	}
	blob, err := b.blobs.Open(t.Context(), *result.Full)
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(blob)
	if err != nil || len(content) != 6888897 || !strings.HasSuffix(string(content), "999999\n1000000\n\n") {
		t.Errorf("the blob has %d bytes, %v", len(content), err)
	}
}

func TestOutputThatIsNotTextStaysSmall(t *testing.T) {
	b := newBench(t)
	for _, command := range []string{"head -c 29999 /dev/urandom", "head -c 300000 /dev/urandom", `printf '\xff%.0s' {1..29000}`, "yes '' | head -c 90000", "head -c 90000 /dev/zero"} {
		result, err := b.tools["bash"].Run(t.Context(), actors.ToolUse{Workspace: b.workspace, Arguments: mustJSON(t, args{"command": command})})
		if err != nil || result.Failed || len(result.Text) > events.InlineLimit {
			t.Errorf("%s: %d bytes, failed %v, %v", command, len(result.Text), result.Failed, err)
		}
	}
}

func TestMoreThanIsKeptRunsOn(t *testing.T) {
	b := newBench(t)
	b.tools = newTools(t, countingBlobs{})
	result, err := b.tools["bash"].Run(t.Context(), actors.ToolUse{Workspace: b.workspace, Arguments: json.RawMessage(`{"command":"yes | head -c 70000000; echo the end"}`)})
	if err != nil || result.Failed || result.Full == nil || result.Full.Size != 64<<20 {
		t.Fatalf("%+v, %v", result.Full, err)
	}
	if !strings.HasSuffix(result.Text, "y\nthe end\n") || !strings.Contains(result.Text, "its first 64 MiB: blob counted") {
		t.Errorf("the text ends %q", result.Text[len(result.Text)-300:])
	}
}

// countingBlobs counts bytes and keeps none.
type countingBlobs struct{ storage.Blobs }

func (countingBlobs) Put(_ context.Context, media string, content io.Reader) (events.BlobRef, error) {
	size, err := io.Copy(io.Discard, content)
	return events.BlobRef{Hash: "counted", Size: size, Media: media}, err
}

func TestOutputThatCannotBeKeptIsStillShown(t *testing.T) {
	b := newBench(t)
	b.tools = newTools(t, fullBlobs{})
	text, failed := b.run("bash", args{"command": "seq 1 1000000"})
	if failed || !strings.Contains(text, "could not be kept: "+storage.ErrFull.Error()) || !strings.HasSuffix(text, "1000000\n") {
		t.Errorf("%v: %s", failed, text[len(text)-200:])
	}
}

// fullBlobs is a store on a full disk.
type fullBlobs struct{ storage.Blobs }

func (fullBlobs) Put(_ context.Context, _ string, content io.Reader) (events.BlobRef, error) {
	if _, err := io.CopyN(io.Discard, content, 50_000); err != nil {
		return events.BlobRef{}, err
	}
	return events.BlobRef{}, storage.ErrFull
}

func TestCancelEndsTheCommand(t *testing.T) {
	b := newBench(t)
	ctx, cancel := context.WithCancel(t.Context())
	marker := filepath.Join(b.workspace, "started")
	go func() {
		defer cancel()
		for ; ; <-time.After(time.Millisecond) {
			if _, err := os.Stat(marker); !errors.Is(err, fs.ErrNotExist) {
				return
			}
		}
	}()
	use := actors.ToolUse{Workspace: b.workspace, Arguments: json.RawMessage(`{"command":"(setsid sleep 100 &); touch started; sleep 100"}`)}
	if result, err := b.tools["bash"].Run(ctx, use); !errors.Is(err, context.Canceled) {
		t.Errorf("%+v, %v; want context.Canceled", result, err)
	}
}

func TestBackgroundChildrenAreGoneWhenTheCommandEnds(t *testing.T) {
	b := newBench(t)
	begun := time.Now()
	mark := fmt.Sprintf("100.%d", begun.UnixNano()) // a time that nothing else sleeps for
	b.works("bash", args{"command": fmt.Sprintf("nohup sleep %s >/dev/null 2>&1 & (setsid sleep %[1]s &) ; echo done", mark)}, "done\n")
	if took := time.Since(begun); took > 2*time.Second {
		t.Errorf("it took %v", took)
	}
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range lines {
		if line, err := os.ReadFile(path); err == nil && strings.Contains(string(line), mark) {
			t.Errorf("%s is left: %q", path, line)
		}
	}
}

func mustJSON(t *testing.T, a args) json.RawMessage {
	t.Helper()
	encoded, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	return encoded
}
