package supervised

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"example.com/life/adapters/sandbox/supervisor"
)

// UserNamespace is a user namespace in which one user and group have the numbers of inside, and outside those of outside. It takes root.
func UserNamespace(inside, outside supervisor.Identity) (*os.File, error) {
	// A supervisor that waits for its orders: it is there for as long as it takes to open its namespace.
	holder := exec.Command("/proc/self/exe")
	holder.Args, holder.Env = []string{supervisor.Name}, []string{}
	holder.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: inside.UID, HostID: outside.UID, Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: inside.GID, HostID: outside.GID, Size: 1}},
	}
	orders, err := holder.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := holder.Start(); err != nil {
		return nil, fmt.Errorf("make a user namespace: %w", errors.Join(err, orders.Close()))
	}
	namespace, err := os.Open(fmt.Sprintf("/proc/%d/ns/user", holder.Process.Pid))
	err = errors.Join(err, holder.Process.Kill())
	_ = holder.Wait() //nolint:errcheck // it was killed
	return namespace, err
}
