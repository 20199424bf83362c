package supervised

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"example.com/life/adapters/sandbox/supervisor"
)

// UserNamespace is a user namespace in which one user and group have the numbers of inside, and outside those of outside. It takes root.
func UserNamespace(inside, outside supervisor.Identity) (*os.File, error) {
	// A supervisor that waits for its order: it is there for as long as it takes to open its namespace.
	holder, end, err := start(&syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: inside.UID, HostID: outside.UID, Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: inside.GID, HostID: outside.GID, Size: 1}},
	})
	if err != nil {
		return nil, fmt.Errorf("make a user namespace: %w", err)
	}
	defer holder.Discard()
	namespace, err := os.Open(fmt.Sprintf("/proc/%d/ns/user", holder.cmd.Process.Pid))
	return namespace, errors.Join(err, end.Close())
}
