package supervisor

import (
	"bytes"
	"io"
	"math"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

// set puts on this process the limits that the kernel keeps. The command inherits them.
func (l Limits) set(namespaces bool) error {
	limits := map[int]uint64{syscall.RLIMIT_CORE: 0}
	if namespaces && l.Processes > 0 {
		limits[rlimitNProc] = l.Processes
	}
	if l.FileSize > 0 {
		limits[syscall.RLIMIT_FSIZE] = l.FileSize
	}
	if l.Data > 0 {
		limits[syscall.RLIMIT_DATA] = l.Data
	}
	for resource, limit := range limits {
		var now syscall.Rlimit
		if err := syscall.Getrlimit(resource, &now); err != nil {
			return os.NewSyscallError("getrlimit", err)
		}
		limit = min(limit, now.Max)
		if err := syscall.Setrlimit(resource, &syscall.Rlimit{Cur: limit, Max: limit}); err != nil {
			return os.NewSyscallError("setrlimit", err)
		}
	}
	return nil
}

// watchEvery is the time between two looks at what a command takes.
const watchEvery = 200 * time.Millisecond

// watch looks at the limits that the kernel does not keep.
func (o *order) watch() <-chan Excess {
	exceeded := make(chan Excess, 1)
	if o.Confinement == nil {
		return exceeded
	}
	l := o.Confinement.Limits
	go func() {
		for range time.Tick(watchEvery) {
			if found := l.exceeded(); found != "" {
				exceeded <- found
				return
			}
		}
	}()
	return exceeded
}

// live follows the lifeline: cut is closed when it ends, as it does when the host closes it or dies; over when the host lives, and the time has come until which it could say
// that it may go on. That is a time of a clock that does not stand while the machine sleeps.
func (o *order) live(lifeline io.Reader) (cut, over <-chan struct{}) {
	ended, late := make(chan struct{}), make(chan struct{})
	var mu sync.Mutex
	until := o.Until
	go func() {
		defer close(ended)
		var renewal [renewalSize]byte
		for {
			if _, err := io.ReadFull(lifeline, renewal[:]); err != nil {
				return
			}
			mu.Lock()
			until = max(until, readRenewal(renewal))
			mu.Unlock()
		}
	}()
	if o.Bounded {
		go func() {
			for {
				mu.Lock()
				left := until - sinceBoot()
				mu.Unlock()
				if left <= 0 {
					close(late)
					return
				}
				<-time.After(min(left, watchEvery)) // by a clock that stands while the machine sleeps
			}
		}()
	}
	return ended, late
}

// sinceBoot is CLOCK_BOOTTIME.
func sinceBoot() time.Duration {
	const clockBoottime = 7
	var now syscall.Timespec
	if _, _, errno := syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, clockBoottime, uintptr(unsafe.Pointer(&now)), 0); errno != 0 {
		return time.Duration(math.MaxInt64) // as if nothing had come for ever: a command that nobody can bound does not run
	}
	return time.Duration(now.Nano())
}

func (l Limits) exceeded() Excess {
	if l.Memory > 0 && privateMemory() > l.Memory {
		return ExcessMemory
	}
	for _, disk := range l.Disks {
		var stat syscall.Statfs_t
		if err := syscall.Statfs(string(disk), &stat); err == nil && stat.Bavail < math.MaxInt64/uint64(stat.Bsize) && stat.Bavail*uint64(stat.Bsize) < l.FreeDisk {
			return ExcessDisk
		}
	}
	return ""
}

// privateMemory is what the processes below this one take, in bytes, without what files and shared memory hold.
func privateMemory() (sum uint64) {
	for _, p := range below(os.Getpid(), processes()) {
		statm, err := os.ReadFile("/proc/" + strconv.Itoa(p.pid) + "/statm")
		if fields := bytes.Fields(statm); err == nil && len(fields) > 2 {
			resident, err1 := strconv.ParseUint(string(fields[1]), 10, 64)
			shared, err2 := strconv.ParseUint(string(fields[2]), 10, 64)
			if err1 == nil && err2 == nil && resident > shared {
				sum += (resident - shared) * uint64(os.Getpagesize())
			}
		}
	}
	return sum
}
