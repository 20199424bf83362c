package server

import (
	"net"
	"net/netip"
	"sync"
)

// places bounds the open connections, and those of one address, so that no address shuts the others out.
type places struct {
	mu    sync.Mutex
	taken int
	from  map[netip.Prefix]int
}

func newPlaces() *places { return &places{from: map[netip.Prefix]int{}} }

// take takes a place, which has to be left again, or says what there are too many of.
func (p *places) take(address net.Addr) (left func(), tooMany string) {
	from := networkOf(address)
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.taken >= maxConnections:
		return nil, "connections"
	case p.from[from] >= maxFromAddress:
		return nil, "connections from its address"
	}
	p.taken++
	p.from[from]++
	return sync.OnceFunc(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.taken--
		if p.from[from]--; p.from[from] == 0 {
			delete(p.from, from)
		}
	}), ""
}

// networkOf is what one client is taken to have: an address, or in IPv6 a network of 64 bits.
func networkOf(address net.Addr) netip.Prefix {
	at, err := netip.ParseAddrPort(address.String())
	if err != nil {
		return netip.Prefix{}
	}
	bits := 32
	if ip := at.Addr().Unmap(); !ip.Is4() {
		bits = 64
	}
	network, err := at.Addr().Unmap().WithZone("").Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return network
}
