package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// scene is what an attacker knows.
type scene struct {
	Workspace, Outside, Home string // Home is the user's, not the command's
	Host                     int    // a process of the host
	TCP, MPTCP, UDP          string
	Abstract, Socket         string
	Address                  uintptr // in the memory of the host
	Program                  string  // this one, setuid
}

// attack is one attempt. No error means that it succeeded.
type attack struct {
	name string
	do   func(scene) error
	// How it must end at each level: A, it succeeds; -, it does not; ?, it depends on the machine.
	host, landlock, namespaces byte
}

var errNothing = errors.New("nothing was there")

// file is an attack on a file outside.
func file(do func(outside string) error) func(scene) error {
	return func(s scene) error { return do(s.Outside) }
}

func attacks() []attack {
	call := func(number uintptr, args ...uintptr) func(scene) error {
		return func(scene) error {
			var a [6]uintptr
			copy(a[:], args)
			_, _, errno := unix.Syscall6(number, a[0], a[1], a[2], a[3], a[4], a[5])
			if errno == unix.EPERM || errno == unix.ENOSYS || errno == unix.EACCES {
				return errno
			}
			return nil // it was reached, whatever it said
		}
	}
	return []attack{
		{"write a new file", file(func(o string) error { return os.WriteFile(o+"/new", []byte("x"), 0o600) }), 'A', '-', '-'},
		{"write a file", file(func(o string) error { return os.WriteFile(o+"/file", []byte("x"), 0o600) }), 'A', '-', '-'},
		{"write in the home directory", func(s scene) error { return os.WriteFile(s.Home+"/.bashrc", []byte("x"), 0o600) }, 'A', '-', '-'},
		{"write by ..", func(s scene) error { return os.WriteFile(s.Workspace+"/../outside/dots", []byte("x"), 0o600) }, 'A', '-', '-'},
		{"write by a link to a directory", func(s scene) error {
			return errors.Join(os.Symlink(s.Outside, s.Workspace+"/link"), os.WriteFile(s.Workspace+"/link/linked", []byte("x"), 0o600))
		}, 'A', '-', '-'},
		{"rename out", func(s scene) error {
			return errors.Join(os.WriteFile(s.Workspace+"/out", nil, 0o600), os.Rename(s.Workspace+"/out", s.Outside+"/out"))
		}, 'A', '-', '-'},
		{"rename in", func(s scene) error { return os.Rename(s.Outside+"/movable", s.Workspace+"/in") }, 'A', '-', '-'},
		{"truncate", file(func(o string) error { return os.Truncate(o+"/truncated", 1) }), 'A', '-', '-'},
		{"unlink", file(func(o string) error { return os.Remove(o + "/removable") }), 'A', '-', '-'},
		{"make a hard link", func(s scene) error { return os.Link(s.Outside+"/file", s.Workspace+"/hard") }, 'A', '-', '-'},
		{"write by a hard link that was there", func(s scene) error { return os.WriteFile(s.Workspace+"/linked-before", []byte("x"), 0o600) }, 'A', 'A', 'A'},
		{"chmod", file(func(o string) error { return os.Chmod(o+"/file", 0o666) }), 'A', '?', '-'},
		{"utimes", file(func(o string) error { return os.Chtimes(o+"/file", time.Unix(1, 0), time.Unix(1, 0)) }), 'A', '?', '-'},
		{"read a file", file(func(o string) error { _, err := os.ReadFile(o + "/file"); return err }), 'A', '-', '-'},
		{"read a key", func(s scene) error { _, err := os.ReadFile(s.Home + "/.ssh/id_rsa"); return err }, 'A', '-', '-'},
		{"see that a file is there", file(func(o string) error { _, err := os.Stat(o + "/file"); return err }), 'A', 'A', '-'},
		{"read /etc/shadow", func(scene) error { _, err := os.ReadFile("/etc/shadow"); return err }, '?', '-', '-'},
		{"write /etc", func(scene) error { return os.WriteFile("/etc/life-attack-test", nil, 0o600) }, '?', '-', '-'},
		{"write /usr", func(scene) error { return os.WriteFile("/usr/life-attack-test", nil, 0o600) }, '?', '-', '-'},
		{"write /", func(scene) error { return os.WriteFile("/life-attack-test", nil, 0o600) }, '?', '-', '-'},
		{"list a process's directory", procfs(func(p string) error { _, err := os.ReadDir(p + "/root/tmp"); return err }), 'A', '-', '-'},
		{"its working directory", procfs(func(p string) error { _, err := os.ReadDir(p + "/cwd/"); return err }), 'A', '-', '-'},
		{"its environment", procfs(func(p string) error { _, err := os.ReadFile(p + "/environ"); return err }), 'A', '-', '-'},
		{"its memory", procfs(func(p string) error {
			f, err := os.OpenFile(p+"/mem", os.O_RDWR, 0)
			if err == nil {
				err = f.Close()
			}
			return err
		}), 'A', '-', '-'},
		{"signal it", func(s scene) error { return syscall.Kill(s.Host, syscall.SIGURG) }, 'A', '-', '-'},
		{"trace it", trace, 'A', '-', '-'},
		{"read its memory", readMemory, 'A', '-', '-'},
		{"see it", func(s scene) error { _, err := os.Stat(fmt.Sprintf("/proc/%d/comm", s.Host)); return err }, 'A', 'A', '-'},
		{"reach process 1 of the sandbox", reachInit, '?', '-', '-'},
		{"TCP", func(s scene) error { return dial("tcp", s.TCP) }, 'A', '-', '-'},
		{"MPTCP", multipath, '?', '-', '-'},
		{"UDP", func(s scene) error { return ask(s.UDP) }, 'A', '-', '-'},
		{"an abstract socket", func(s scene) error { return dial("unix", s.Abstract) }, 'A', '-', '-'},
		{"a socket in a directory", func(s scene) error { return dial("unix", s.Socket) }, 'A', '-', '-'},
		{"vsock", socket(unix.AF_VSOCK), '?', '-', '-'},
		{"packets", socket(unix.AF_PACKET), '?', '-', '-'},
		{"crypto sockets", socket(unix.AF_ALG), '?', '-', '-'},
		{"io_uring", call(unix.SYS_IO_URING_SETUP, 1, 0), 'A', '-', '-'},
		{"bpf", call(unix.SYS_BPF, 100, 0, 0), '?', '-', '-'},
		{"perf_event_open", call(unix.SYS_PERF_EVENT_OPEN, 0, 0, 0, 0, 0), '?', '-', '-'},
		{"keyctl", call(unix.SYS_KEYCTL, 0, 0), 'A', '-', '-'},
		{"userfaultfd", call(unix.SYS_USERFAULTFD, 0xffff), '?', '-', '-'},
		{"open_by_handle_at", call(unix.SYS_OPEN_BY_HANDLE_AT, 0, 0, 0), '?', '-', '-'},
		{"a user namespace", nested(unix.CLONE_NEWUSER), 'A', '-', '-'},
		{"a mount namespace", nested(unix.CLONE_NEWNS), '?', '-', '-'},
		{"mount", call(unix.SYS_MOUNT, 0, 0, 0, 0, 0), '?', '-', '-'},
		{"a setuid program", setuid, 'A', '-', '-'},
		{"capabilities", capabilities, '?', '-', '-'},
		{"core_pattern", proc("/proc/sys/kernel/core_pattern"), '?', '-', '-'},
		{"sysrq", proc("/proc/sysrq-trigger"), '?', '-', '-'},
		{"modprobe", proc("/proc/sys/kernel/modprobe"), '?', '-', '-'},
		{"uevent_helper", proc("/sys/kernel/uevent_helper"), '?', '-', '-'},
		{"kvm", proc("/dev/kvm"), '?', '-', '-'},
		{"a disk", proc("/dev/vda"), '?', '-', '-'},
		{"an open file of the host", inherited, '-', '-', '-'},
		{"swap the directory of hooks", swapHooks, 'A', 'A', '-'},
		{"write a hook", func(s scene) error { return os.WriteFile(s.Workspace+"/.git/hooks/pre-push", nil, 0o700) }, 'A', 'A', '-'},
		{"write git's configuration", func(s scene) error { return os.WriteFile(s.Workspace+"/.git/config", nil, 0o700) }, 'A', 'A', '-'},
		{"replace git's configuration", func(s scene) error {
			return errors.Join(os.WriteFile(s.Workspace+"/.git/config.lock", nil, 0o600), os.Rename(s.Workspace+"/.git/config.lock", s.Workspace+"/.git/config"))
		}, 'A', 'A', '-'},
		{"read Life's own directory", func(s scene) error { _, err := os.ReadFile(s.Workspace + "/share/life/store"); return err }, 'A', 'A', '-'},
		{"move what holds it", func(s scene) error { return os.Rename(s.Workspace+"/share", s.Workspace+"/moved") }, '?', '?', '-'},
	}
}

func procfs(do func(dir string) error) func(scene) error {
	return func(s scene) error { return do(fmt.Sprintf("/proc/%d", s.Host)) }
}

func proc(path string) func(scene) error {
	return func(scene) error {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err == nil {
			err = f.Close()
		}
		return err
	}
}

func trace(s scene) error {
	runtime.LockOSThread()
	err := unix.PtraceAttach(s.Host)
	if err != nil {
		return err
	}
	_, err = unix.Wait4(s.Host, nil, unix.WALL, nil)
	return errors.Join(err, unix.PtraceDetach(s.Host))
}

func readMemory(s scene) error {
	buffer := make([]byte, 8)
	n, err := unix.ProcessVMReadv(s.Host, []unix.Iovec{{Base: &buffer[0], Len: 8}}, []unix.RemoteIovec{{Base: s.Address, Len: 8}}, 0)
	if err == nil && n != 8 {
		return errNothing
	}
	return err
}

// reachInit reaches for the supervisor, which keeps its rights and is the same user.
func reachInit(scene) error {
	pid := strconv.Itoa(os.Getppid())
	for _, name := range []string{"/mem", "/environ", "/root/", "/cwd/"} {
		if f, err := os.Open("/proc/" + pid + name); err == nil {
			return f.Close()
		}
	}
	return errNothing
}

func dial(network, address string) error {
	dialer := net.Dialer{Timeout: 2 * time.Second}
	dialer.SetMultipathTCP(false)
	conn, err := dialer.Dial(network, address)
	if err == nil {
		err = conn.Close()
	}
	return err
}

func multipath(s scene) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 262)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	_, port, err := net.SplitHostPort(s.MPTCP)
	if err != nil {
		return err
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return err
	}
	return unix.Connect(fd, &unix.SockaddrInet4{Port: number, Addr: [4]byte{127, 0, 0, 1}})
}

// ask sends a datagram to the host, which answers.
func ask(address string) error {
	conn, err := net.Dial("udp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("?")); err != nil {
		return err
	}
	if err := conn.SetReadDeadline(time.Now().Add(2 * time.Second)); err != nil {
		return err
	}
	_, err = conn.Read(make([]byte, 1))
	return err
}

func socket(family int) func(scene) error {
	return func(scene) error {
		fd, err := unix.Socket(family, unix.SOCK_DGRAM, 0)
		if err != nil {
			fd, err = unix.Socket(family, unix.SOCK_STREAM, 0)
		}
		if err == nil {
			err = unix.Close(fd)
		}
		return err
	}
}

func nested(flag uintptr) func(scene) error {
	return func(scene) error {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = []string{attackVariable + "=exit"}
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flag}
		return cmd.Run()
	}
}

// setuid runs this program as a setuid program of another user, and asks as whom it ran.
func setuid(s scene) error {
	if s.Program == "" {
		return errNothing
	}
	cmd := exec.Command(s.Program)
	cmd.Env = []string{attackVariable + "=uid"}
	output, err := cmd.Output()
	if err != nil {
		return err
	}
	if uid := strings.TrimSpace(string(output)); uid == strconv.Itoa(os.Getuid()) && uid != "0" {
		return fmt.Errorf("it ran as %s", uid)
	}
	return nil
}

func capabilities(scene) error {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":\t")
		if strings.HasPrefix(name, "Cap") && name != "CapBnd" && strings.Trim(value, "0") != "" {
			return nil
		}
		if name == "NoNewPrivs" && value != "1" || name == "Seccomp" && value != "2" {
			return nil
		}
	}
	return errNothing
}

// inherited looks for a file that the host left open by mistake.
func inherited(scene) error {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if to, err := os.Readlink("/proc/self/fd/" + entry.Name()); err == nil && strings.Contains(to, "left-open") {
			return nil
		}
	}
	return errNothing
}

func swapHooks(s scene) error {
	if err := os.Rename(s.Workspace+"/.git", s.Workspace+"/swapped"); err != nil {
		return err
	}
	err := errors.Join(os.MkdirAll(s.Workspace+"/.git/hooks", 0o700), os.WriteFile(s.Workspace+"/.git/hooks/pre-commit", nil, 0o700))
	return errors.Join(err, os.RemoveAll(s.Workspace+"/.git"), os.Rename(s.Workspace+"/swapped", s.Workspace+"/.git"))
}

// foreign calls the kernel by int 0x80, which has the numbers of another architecture.
func foreign() error {
	if runtime.GOARCH != "amd64" {
		return errNothing
	}
	page, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE|unix.PROT_EXEC, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return err
	}
	copy(page, []byte{0xb8, 20, 0, 0, 0, 0xcd, 0x80, 0xc3}) // mov eax, getpid of i386; int 0x80; ret
	code := unsafe.Pointer(unsafe.SliceData(page))
	entry := &code
	(*(*func())(unsafe.Pointer(&entry)))()
	return nil
}

// attackVariable makes this program an attacker.
const attackVariable = "SANDBOX_TEST_ATTACK"

// beAttacker does what the variable says, and prints how each attack ended.
func beAttacker(what string) int {
	switch what {
	case "exit":
		return 0
	case "uid":
		fmt.Fprintln(os.Stdout, os.Geteuid())
		return 0
	case "victim":
		secret := []byte("8 bytes!")
		fmt.Fprintln(os.Stdout, uintptr(unsafe.Pointer(&secret[0])))
		for { // until it is killed; it may be stopped and go on meanwhile
			<-time.After(time.Hour)
			runtime.KeepAlive(secret)
		}
	case "foreign":
		fmt.Fprintln(os.Stdout, "survived", foreign())
		return 0
	case "bytes":
		return fill(filepath.Join(os.Getenv("HOME"), "filled"))
	case "memory":
		return swallow()
	}
	var s scene
	if err := json.Unmarshal([]byte(what), &s); err != nil {
		fmt.Fprintln(os.Stdout, err)
		return 1
	}
	results := map[string]string{}
	for _, a := range attacks() {
		results[a.name] = ""
		if err := a.do(s); err != nil {
			results[a.name] = err.Error()
		}
	}
	encoded, err := json.Marshal(results)
	if err != nil {
		fmt.Fprintln(os.Stdout, err)
		return 1
	}
	fmt.Fprintln(os.Stdout, string(encoded))
	return 0
}

// fill writes a file that is larger than one may be.
func fill(path string) int {
	f, err := os.Create(path)
	if err != nil {
		fmt.Fprintln(os.Stdout, err)
		return 1
	}
	_, err = f.WriteAt([]byte("x"), largestFile)
	fmt.Fprintln(os.Stdout, err)
	return 0
}

// swallow takes memory until it is stopped.
func swallow() int {
	for {
		page, err := unix.Mmap(-1, 0, 16<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
		if err != nil {
			fmt.Fprintln(os.Stdout, err)
			return 1
		}
		for i := 0; i < len(page); i += 4096 {
			page[i] = 1
		}
	}
}
