package tools_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

const inNamespace = "LIFE_TEST_MOUNTS"

// TestMountedFile: a file that is mounted by itself, as docker run -v FILE:FILE does, can be written but not replaced. The test runs itself again in a mount
// namespace of its own, where anybody may mount.
func TestMountedFile(t *testing.T) {
	if os.Getenv(inNamespace) == "" {
		cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^TestMountedFile$", "-test.v")
		cmd.Env = append(os.Environ(), inNamespace+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		}
		out, err := cmd.CombinedOutput()
		switch {
		case err != nil && len(out) == 0:
			t.Skipf("no namespaces here: %v", err)
		case err != nil:
			t.Errorf("%v\n%s", err, out)
		case !strings.Contains(string(out), "--- PASS"):
			t.Skipf("%s", out)
		}
		return
	}
	b := newBench(t)
	outer := filepath.Join(t.TempDir(), "outer.yaml")
	b.write("conf.yaml", "")
	b.write("sub/conf.yaml", "")
	b.write("ro.yaml", "")
	mount := func(name string, flags uintptr) {
		if err := syscall.Mount(outer, filepath.Join(b.workspace, name), "", syscall.MS_BIND|flags, ""); err != nil {
			t.Skipf("mount: %v", err)
		}
		t.Cleanup(func() {
			if err := syscall.Unmount(filepath.Join(b.workspace, name), syscall.MNT_DETACH); err != nil {
				t.Error(err)
			}
		})
	}
	if err := os.WriteFile(outer, []byte("a: 1\nb: 2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	mount("conf.yaml", 0)
	mount("sub/conf.yaml", 0)
	mount("ro.yaml", 0)
	if err := syscall.Mount("", filepath.Join(b.workspace, "ro.yaml"), "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Skipf("mount: %v", err)
	}
	const inPlace = "\n[written in place, because the file cannot be replaced: device or resource busy]"
	b.works("read_file", args{"path": "conf.yaml"}, "a: 1\nb: 2\n")
	b.works("edit_file", args{"path": "conf.yaml", "old": "a: 1", "new": "a: 2"}, "conf.yaml: replaced 1, on line 1"+inPlace)
	b.holds("conf.yaml", "a: 2\nb: 2\n")
	b.works("write_file", args{"path": "sub/conf.yaml", "content": "a: 3\n"}, "replaced sub/conf.yaml: 5 bytes"+inPlace)
	b.holds("sub/conf.yaml", "a: 3\n")
	b.works("append_line", args{"path": "conf.yaml", "line": "c: 4"}, "appended a line to conf.yaml")
	if content, err := os.ReadFile(outer); err != nil || string(content) != "a: 3\nc: 4\n" {
		t.Errorf("outside, the file holds %q, %v", content, err)
	}
	b.fails("write_file", args{"path": "ro.yaml", "content": "x"}, "ro.yaml: read-only file system")
	b.holds("ro.yaml", "a: 3\nc: 4\n")
}
