package sandbox

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"example.com/life/adapters/sandbox/supervisor"
)

// system is what of the system commands may read, where it is there.
func system() []string {
	return []string{"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/opt", "/nix"}
}

// masked is what of it they may not.
func masked() []string {
	return []string{
		"/etc/shadow", "/etc/shadow-", "/etc/gshadow", "/etc/gshadow-", "/etc/sudoers", "/etc/sudoers.d", "/etc/ssh", "/etc/ssl/private", "/etc/krb5.keytab",
	}
}

// devices are the device files that commands may open.
func devices() []string { return []string{"null", "zero", "full", "random", "urandom", "tty"} }

// Bounds, in bytes.
const (
	sharedMemory = 64 << 20
	largestFile  = 4 << 30
	leastDisk    = 256 << 20 // free, below which a command is ended: the store needs it to go on
)

// processes is how many processes and threads a command may have at the same time.
const processes = 1024

// confine returns what confines a command at a level, and its directory for temporary files.
func (s *Sandbox) confine(c Command, level Level) (*supervisor.Confinement, string, error) {
	if level == LevelHost {
		return nil, c.Temp, nil
	}
	if err := checkWorkspace(c.Workspace); err != nil {
		return nil, "", err
	}
	abi := landlockABI()
	confinement := &supervisor.Confinement{
		Namespaces: level == LevelNamespaces, Identity: identity(),
		Limits: supervisor.Limits{
			Processes: processes, FileSize: largestFile, Memory: s.memory, FreeDisk: s.freeDisk,
			Disks: []supervisor.Bytes{supervisor.Bytes(c.Workspace), supervisor.Bytes(c.Home)},
		},
	}
	var err error
	if confinement.Filter, err = filter(confinement.Namespaces); err != nil {
		return nil, "", err
	}
	if level == LevelLandlock {
		confinement.Ruleset = ruleset(abi, false, s.readable(c), []string{c.Workspace, c.Home, c.Temp})
		return confinement, c.Temp, nil
	}
	confinement.Network = s.config.Network.Rules()
	if abi > 0 {
		confinement.Ruleset = ruleset(abi, true, []string{"/"}, []string{c.Workspace, c.Home, "/tmp", "/run", "/dev/shm"})
	}
	b := builder{sandbox: s, confinement: confinement}
	b.view(c)
	if b.err != nil {
		for _, file := range confinement.Files {
			_ = file.Close() // the first error is told
		}
		return nil, "", b.err
	}
	return confinement, "/tmp", nil
}

// memoryLimit is what the processes of one command may take together: half of the machine's.
func memoryLimit() uint64 {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return 0
	}
	return max(info.Totalram*uint64(info.Unit)/2, 512<<20)
}

// builder collects the mounts of a file tree.
type builder struct {
	sandbox     *Sandbox
	confinement *supervisor.Confinement
	err         error
}

func (b *builder) add(m supervisor.Mount) { b.confinement.Mounts = append(b.confinement.Mounts, m) }

// bind shows a path of the host at the same path, or at another.
func (b *builder) bind(path, target string, readOnly bool) {
	m := supervisor.Mount{Kind: supervisor.MountBind, Source: supervisor.Bytes(path), Target: supervisor.Bytes(target), ReadOnly: readOnly}
	if b.confinement.Identity != nil && b.err == nil { // the supervisor is no longer root, and does not reach everything that root does
		file, err := b.sandbox.users.detached(path, !readOnly)
		if err != nil {
			b.err = err
			return
		}
		b.confinement.Files = append(b.confinement.Files, file)
		m.File = len(b.confinement.Files)
	}
	var stat unix.Stat_t
	if err := unix.Stat(path, &stat); err == nil && !readOnly {
		m.Device, m.Inode = uint64(stat.Dev), stat.Ino //nolint:unconvert // its type differs between platforms
	}
	b.add(m)
}

func (b *builder) tmpfs(target string, size int64, readOnly bool) {
	b.add(supervisor.Mount{Kind: supervisor.MountTmpfs, Target: supervisor.Bytes(target), Size: size, ReadOnly: readOnly})
}

func (b *builder) link(at, to string) {
	b.add(supervisor.Mount{Kind: supervisor.MountLink, Target: supervisor.Bytes(at), Source: supervisor.Bytes(to)})
}

func (b *builder) pin(path string, readOnly bool) {
	b.add(supervisor.Mount{Kind: supervisor.MountPin, Target: supervisor.Bytes(path), ReadOnly: readOnly})
}

// view is the file tree of a command. What comes later may be on top of what comes before.
func (b *builder) view(c Command) {
	for _, path := range system() {
		if info, err := os.Lstat(path); err != nil {
			continue
		} else if to, err := os.Readlink(path); err == nil && info.Mode()&os.ModeSymlink != 0 {
			b.link(path, to)
		} else {
			b.bind(path, path, true)
		}
	}
	for _, path := range masked() {
		b.mask(path)
	}
	b.add(supervisor.Mount{Kind: supervisor.MountProc, Target: "/proc"})
	b.devices()
	b.tmpfs("/run", sharedMemory, false)
	b.bind(c.Temp, "/tmp", false)
	b.link("/var/tmp", "/tmp")
	b.link("/var/run", "/run")
	for _, path := range b.sandbox.programs(c.Workspace) {
		b.bind(path, path, true)
	}
	b.bind(c.Workspace, c.Workspace, false)
	if !slices.ContainsFunc(append([]string{c.Workspace}, system()...), func(top string) bool { return within(c.given, top) }) {
		b.link(c.given, c.Workspace) // agents know it by this name
	}
	b.protect(c.Workspace)
	for _, path := range b.sandbox.config.Hidden {
		b.hide(c.Workspace, path)
	}
	b.bind(c.Home, c.Home, false)
}

// mask takes a file or directory out of what is read.
func (b *builder) mask(path string) {
	info, err := os.Lstat(path)
	switch {
	case err != nil:
	case info.IsDir():
		b.tmpfs(path, 4096, true)
	case info.Mode().IsRegular(): // a device file, where devices cannot be opened
		b.add(supervisor.Mount{Kind: supervisor.MountBind, Source: "/dev/null", Target: supervisor.Bytes(path), ReadOnly: true})
	}
}

func (b *builder) devices() {
	b.tmpfs("/dev", 64<<10, true)
	for _, name := range devices() {
		path := supervisor.Bytes("/dev/" + name)
		if _, err := os.Stat(string(path)); err == nil {
			b.add(supervisor.Mount{Kind: supervisor.MountBind, Source: path, Target: path, Devices: true})
		}
	}
	b.add(supervisor.Mount{Kind: supervisor.MountPts, Target: "/dev/pts"})
	b.tmpfs("/dev/shm", sharedMemory, false)
	b.link("/dev/ptmx", "pts/ptmx")
	b.link("/dev/fd", "/proc/self/fd")
	for i, name := range []string{"stdin", "stdout", "stderr"} {
		b.link("/dev/"+name, "/proc/self/fd/"+string(rune('0'+i)))
	}
}

// programs are the directories besides the system's that commands may read, each once.
func (s *Sandbox) programs(workspace string) (paths []string) {
	home, _ := os.UserHomeDir() //nolint:errcheck // who has none keeps no programs there
	candidates := slices.Clone(s.config.Readable)
	for _, dir := range filepath.SplitList(s.config.Path) {
		candidates = append(candidates, dir)
		candidates = append(candidates, toolchains(dir)...)
	}
	for _, candidate := range candidates {
		path, err := filepath.EvalSymlinks(candidate)
		if err != nil || !filepath.IsAbs(path) {
			continue
		}
		inside := func(top string) bool { return within(path, top) }
		holds := func(dir string) bool { return dir != "" && within(dir, path) }
		if slices.ContainsFunc(system(), inside) || slices.ContainsFunc(paths, inside) || holds(workspace) || holds(home) || slices.ContainsFunc(s.config.Hidden, holds) {
			continue // it is there already, or it is more than programs
		}
		paths = append(paths, path)
	}
	return paths
}

// toolchains are what the programs of a directory of PATH need besides it, for kinds of installation that many have below their home directory.
func toolchains(dir string) (paths []string) {
	top := filepath.Dir(dir)
	for _, mark := range []string{"VERSION", "lib/node_modules", "pyvenv.cfg", "lib/rustlib"} { // of Go, Node, Python, Rust
		if _, err := os.Stat(filepath.Join(top, mark)); err == nil && filepath.Base(dir) == "bin" {
			paths = append(paths, top)
		}
	}
	if filepath.Base(top) == ".cargo" {
		paths = append(paths, filepath.Join(filepath.Dir(top), ".rustup"))
	}
	if filepath.Base(top) == ".pyenv" {
		paths = append(paths, top)
	}
	return paths
}

// within reports whether a clean absolute path is another one or below it.
func within(path, top string) bool {
	return path == top || top == "/" || strings.HasPrefix(path, top+"/")
}

// hide puts nothing in the place of a directory, where the workspace holds it.
func (b *builder) hide(workspace, path string) {
	hidden, err := filepath.EvalSymlinks(path)
	if err != nil || hidden == workspace || !within(hidden, workspace) {
		return
	}
	for _, above := range between(workspace, hidden) {
		b.pin(above, false)
	}
	b.tmpfs(hidden, 1<<20, true)
}

// between are the directories between the workspace and a path: whoever could move one of them would move the path.
func between(workspace, path string) (dirs []string) {
	for at := filepath.Dir(path); at != workspace && within(at, workspace); at = filepath.Dir(at) {
		dirs = append(dirs, at)
	}
	slices.Reverse(dirs)
	return dirs
}

// protect puts over the workspace what the policy protects in it, as far as it is there: what may not be read is not there, what may not be written is read-only,
// and the directories above cannot be moved away.
func (b *builder) protect(workspace string) {
	found, err := b.sandbox.config.Policy.Find(workspace)
	if err != nil {
		b.err = errors.Join(b.err, err)
		return
	}
	pinned := map[string]bool{workspace: true}
	for _, p := range found {
		at := filepath.Join(workspace, p.Path)
		for _, above := range between(workspace, at) {
			if !pinned[above] {
				pinned[above] = true
				b.pin(above, false)
			}
		}
		switch {
		case p.Read:
			b.mask(at)
		case !pinned[at]:
			b.pin(at, !p.Kept)
		}
		pinned[at] = true
	}
}
