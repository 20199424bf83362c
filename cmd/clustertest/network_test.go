//go:build linux

package clustertest

import (
	"fmt"
	"net"
	"runtime"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// network is a switch, and machines at it: each with a network namespace of its own. The first is the test's, on the switch itself.
//
// Each machine is told for good at which hardware address it finds each other one. So a way is cut in one direction by naming an address that nobody has: what is
// sent is lost without a word, as on a real network, while what comes the other way arrives.
type network struct {
	t      *testing.T
	plug   *netlink.Bridge
	people *machine
	all    []*machine
}

// machine is a network namespace. Processes are started in it by the one thread that is in it.
type machine struct {
	name    string
	ip      net.IP
	mac     net.HardwareAddr
	handle  *netlink.Handle
	link    int
	started chan func()
}

// nowhere is a hardware address that no machine has.
func nowhere() net.HardwareAddr { return net.HardwareAddr{2, 0, 0, 0, 0, 0xff} }

// newNetwork makes a network of the machines that are named; or skips the test, with the reason.
func newNetwork(t *testing.T, names ...string) *network {
	t.Helper()
	if testing.Short() {
		t.Skip("processes are started, which takes long")
	}
	if unable != "" {
		t.Skip(unable)
	}
	n := &network{t: t, plug: &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "plug", HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, 0xfe}}}} // or it would be a port's
	n.check(netlink.LinkAdd(n.plug))
	t.Cleanup(func() { n.check(netlink.LinkDel(n.plug)) })
	loopback, err := netlink.LinkByName("lo")
	n.check(err)
	n.check(netlink.LinkSetUp(loopback))
	here, err := netlink.NewHandle()
	n.check(err)
	t.Cleanup(here.Close)
	n.people = &machine{name: "people", ip: net.IPv4(10, 99, 0, 254), handle: here}
	n.address(n.people, "plug")
	n.all = []*machine{n.people}
	for i, name := range names {
		n.add(name, net.IPv4(10, 99, 0, byte(i+1)))
	}
	for _, a := range n.all {
		for _, b := range n.all {
			if a != b {
				n.cut(a, b, false)
			}
		}
	}
	return n
}

func (n *network) check(err error) {
	n.t.Helper()
	if err != nil {
		n.t.Fatal(err)
	}
}

// add makes a machine and connects it to the switch.
func (n *network) add(name string, ip net.IP) {
	m := &machine{name: name, ip: ip, started: make(chan func())}
	made := make(chan netns.NsHandle)
	var failed error
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		space, err := netns.New()
		failed = err
		made <- space
		for start := range m.started {
			start()
		}
		_ = space.Close()
	}()
	space := <-made
	n.check(failed)
	n.t.Cleanup(func() { close(m.started) })
	cable := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "to-" + name}, PeerName: "eth0", PeerNamespace: netlink.NsFd(int(space))}
	n.check(netlink.LinkAdd(cable))
	n.t.Cleanup(func() { n.check(netlink.LinkDel(cable)) }) // or it would be there until the kernel has cleared the namespace away
	n.check(netlink.LinkSetMaster(cable, n.plug))
	n.check(netlink.LinkSetUp(cable))
	handle, err := netlink.NewHandleAt(space)
	n.check(err)
	n.t.Cleanup(handle.Close)
	m.handle = handle
	loopback, err := handle.LinkByName("lo")
	n.check(err)
	n.check(handle.LinkSetUp(loopback))
	n.address(m, "eth0")
	n.all = append(n.all, m)
}

// address gives a machine its address.
func (n *network) address(m *machine, link string) {
	found, err := m.handle.LinkByName(link)
	n.check(err)
	n.check(m.handle.AddrAdd(found, &netlink.Addr{IPNet: &net.IPNet{IP: m.ip, Mask: net.CIDRMask(24, 32)}}))
	n.check(m.handle.LinkSetUp(found))
	m.link, m.mac = found.Attrs().Index, found.Attrs().HardwareAddr
}

// cut has everything lost that one machine sends to another, or not any more.
func (n *network) cut(from, to *machine, cut bool) {
	n.t.Helper()
	at := to.mac
	if cut {
		at = nowhere()
	}
	n.check(from.handle.NeighSet(&netlink.Neigh{LinkIndex: from.link, State: netlink.NUD_PERMANENT, IP: to.ip, HardwareAddr: at}))
}

// cutPair cuts the way between two machines.
func (n *network) cutPair(a, b *machine, cut bool) {
	n.t.Helper()
	n.cut(a, b, cut)
	n.cut(b, a, cut)
}

// cutOff cuts a machine off from all others.
func (n *network) cutOff(m *machine, cut bool) {
	n.t.Helper()
	for _, other := range n.all {
		if other != m {
			n.cutPair(m, other, cut)
		}
	}
}

// in does something on the thread that is in the machine's network: what it starts is there too.
func (m *machine) in(do func()) {
	done := make(chan struct{})
	m.started <- func() {
		defer close(done)
		do()
	}
	<-done
}

func (m *machine) at(port int) string { return fmt.Sprintf("%s:%d", m.ip, port) }
