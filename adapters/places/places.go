// Package places bounds the open connections of a server, so that those who have not proved who they are cannot shut out those who can: they
// have a part of the places at most, the longest there makes room for the next, and one that asks for nothing is closed. All of them
// together leave files for what the server does.
package places

import (
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"
)

// Config says how many connections there may be.
type Config struct {
	Most     int           // in all
	Unproven int           // of those who have not proved who they are
	Network  int           // from one address, or in IPv6 from one network of 64 bits; 0: as many as in all
	Patience time.Duration // after which an unproven connection that asks for nothing is closed
}

// ownFiles is what a server has open without a connection.
const ownFiles = 32

// Scaled is a Config of at most so many connections, for a process that may have so many files open: half of those that it does not need
// itself, a quarter of them for callers that have not proved who they are.
func Scaled(most, files int) Config {
	most = max(8, min(most, (files-ownFiles)/2))
	return Config{Most: most, Unproven: max(4, most/4), Network: most, Patience: 10 * time.Second}
}

// Places are the connections of a server. They are safe for concurrent use.
type Places struct {
	config Config

	mu       sync.Mutex
	open     map[*Place]struct{}
	at       map[string]*Place // by the address of the other side
	taken    int64             // places, since the beginning
	unproven int
	from     map[netip.Prefix]count
}

// count is how many connections a network has.
type count struct{ open, unproven int }

// Place is that of one connection. The nil Place is of none, and everything is allowed to it.
type Place struct {
	of      *Places
	conn    net.Conn
	address string
	network netip.Prefix
	taken   int64       // places were before it
	idle    *time.Timer // ends an unproven connection

	// With the lock of Places:
	proven bool
	left   bool
	busy   int       // requests under way
	since  time.Time // when the latest began or ended
}

// New returns places that are all free.
func New(c Config) *Places {
	if c.Network == 0 {
		c.Network = c.Most
	}
	return &Places{config: c, open: map[*Place]struct{}{}, at: map[string]*Place{}, from: map[netip.Prefix]count{}}
}

// Take takes a place for a connection, which is closed to make room for another if it can be spared. The error says what there are too
// many of: then none can be, and the connection is the caller's still.
func (p *Places) Take(conn net.Conn) (*Place, error) {
	now := time.Now()
	taken := &Place{of: p, conn: conn, address: conn.RemoteAddr().String(), network: networkOf(conn.RemoteAddr()), since: now}
	p.mu.Lock()
	p.taken++
	taken.taken = p.taken
	victim, err := p.room(taken)
	if err == nil {
		p.open[taken], p.at[taken.address] = struct{}{}, taken
		p.count(taken.network, 1, 1)
		taken.idle = time.AfterFunc(p.config.Patience, taken.expire)
	}
	p.mu.Unlock()
	if victim != nil {
		victim.cut()
	}
	return taken, err
}

func (p *Places) count(network netip.Prefix, open, unproven int) {
	p.unproven += unproven
	c := p.from[network]
	c.open, c.unproven = c.open+open, c.unproven+unproven
	if p.from[network] = c; c.open == 0 {
		delete(p.from, network)
	}
}

// room makes room for a connection, whose victim has left its place when it returns.
func (p *Places) room(taken *Place) (victim *Place, err error) {
	its := p.from[taken.network]
	switch of := taken.network; {
	case its.open >= p.config.Network:
		err = fmt.Errorf("there are %d connections from %s", its.open, of)
		victim = p.spare(func(other *Place) bool { return other.network == of })
	case p.unproven >= p.config.Unproven:
		most := p.crowd()
		victim = p.spare(func(other *Place) bool { return !other.proven && other.network == most })
	case len(p.open) >= p.config.Most:
		err = fmt.Errorf("there are %d connections", len(p.open))
		victim = p.spare(func(*Place) bool { return true })
	}
	if victim == nil {
		return nil, err
	}
	p.leave(victim)
	return victim, nil
}

// crowd is the network with the most unproven connections.
func (p *Places) crowd() (most netip.Prefix) {
	for network, c := range p.from {
		if c.unproven > p.from[most].unproven {
			most = network
		}
	}
	return most
}

// spare is the connection that can best be spared: the unproven one that has been there longest, or else the one that has been idle longest.
func (p *Places) spare(may func(*Place) bool) (best *Place) {
	for other := range p.open {
		if !may(other) || other.proven && other.busy > 0 {
			continue
		}
		switch {
		case best == nil, best.proven && !other.proven:
		case other.proven != best.proven:
			continue
		case !other.proven && other.taken > best.taken, other.proven && !other.since.Before(best.since):
			continue
		}
		best = other
	}
	return best
}

// leave frees a place.
func (p *Places) leave(place *Place) {
	if place.left {
		return
	}
	place.left = true
	place.idle.Stop()
	delete(p.open, place)
	if p.at[place.address] == place {
		delete(p.at, place.address)
	}
	unproven := -1
	if place.proven {
		unproven = 0
	}
	p.count(place.network, -1, unproven)
}

// Of returns the place of the connection from an address; nil: there is none.
func (p *Places) Of(address net.Addr) *Place {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.at[address.String()]
}

// Leave frees the place.
func (c *Place) Leave() {
	c.of.mu.Lock()
	defer c.of.mu.Unlock()
	c.of.leave(c)
}

// Prove notes that the caller has proved who it is.
func (c *Place) Prove() {
	if c == nil {
		return
	}
	c.of.mu.Lock()
	defer c.of.mu.Unlock()
	if c.proven || c.left {
		return
	}
	c.proven = true
	c.idle.Stop()
	c.of.count(c.network, 0, -1)
}

// Begin notes that a request is under way. A proven connection with one is not closed.
func (c *Place) Begin() { c.change(1) }

// End notes that a request has ended.
func (c *Place) End() { c.change(-1) }

func (c *Place) change(by int) {
	if c == nil {
		return
	}
	c.of.mu.Lock()
	defer c.of.mu.Unlock()
	c.busy, c.since = c.busy+by, time.Now()
}

// expire ends an unproven connection that has asked for nothing for a while.
func (c *Place) expire() {
	c.of.mu.Lock()
	waited := time.Since(c.since)
	ends := !c.proven && !c.left && c.busy == 0 && waited >= c.of.config.Patience
	switch {
	case ends:
		c.of.leave(c)
	case !c.proven && !c.left:
		c.idle.Reset(max(c.of.config.Patience-waited, time.Second))
	}
	c.of.mu.Unlock()
	if ends {
		c.cut()
	}
}

// cut closes a connection that its server has; the server finds it closed.
func (c *Place) cut() {
	_ = c.conn.Close() //nolint:errcheck // there is no one to tell
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
