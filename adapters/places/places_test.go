package places

import (
	"fmt"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// wire is a connection from an address.
type wire struct {
	net.Conn
	from   *net.TCPAddr
	closed bool
}

func (w *wire) RemoteAddr() net.Addr { return w.from }
func (w *wire) Close() error         { w.closed = true; return nil }

var port int

func from(address string) *wire {
	port++
	return &wire{from: &net.TCPAddr{IP: net.ParseIP(address), Port: port}}
}

// taking takes places for connections from addresses.
func taking(t *testing.T, p *Places, addresses ...string) (wires []*wire, taken []*Place) {
	t.Helper()
	for _, address := range addresses {
		w := from(address)
		place, err := p.Take(w)
		if err != nil {
			t.Fatalf("%s: %v", address, err)
		}
		wires, taken = append(wires, w), append(taken, place)
	}
	return wires, taken
}

func open(wires []*wire) (open string) {
	for i, w := range wires {
		if !w.closed {
			open += fmt.Sprint(i)
		}
	}
	return open
}

func want(t *testing.T, wires []*wire, still string) {
	t.Helper()
	if got := open(wires); got != still {
		t.Errorf("%s are open, want %s", got, still)
	}
}

// TestUnprovenMakeRoom: of those who prove nothing the longest there goes, first of the network that has most; who has proved itself stays.
func TestUnprovenMakeRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(Config{Most: 6, Unproven: 3, Patience: time.Minute})
		wires, taken := taking(t, p, "10.0.0.1", "10.0.0.1", "10.0.0.2")
		taken[0].Prove()
		more, others := taking(t, p, "10.0.0.1")
		wires, taken = append(wires, more...), append(taken, others...)
		want(t, wires, "0123")
		more, others = taking(t, p, "10.0.0.1") // the fourth that proves nothing
		wires, taken = append(wires, more...), append(taken, others...)
		want(t, wires, "0234")
		more, others = taking(t, p, "10.0.0.3")
		wires, taken = append(wires, more...), append(taken, others...)
		want(t, wires, "0245")
		for _, place := range taken {
			place.Leave()
			place.Leave() // closed twice
			place.Prove()
		}
		if len(p.open) != 0 || len(p.at) != 0 || len(p.from) != 0 || p.unproven != 0 {
			t.Errorf("places are taken by no one: %+v", p)
		}
	})
}

// TestProvenMakeRoom: when all places are taken, the one that has been idle longest goes; when all are busy, no more come.
func TestProvenMakeRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(Config{Most: 3, Unproven: 3, Patience: time.Minute})
		wires, taken := taking(t, p, "10.0.0.1", "10.0.0.2", "2001:db8::1")
		for _, place := range taken {
			<-time.After(time.Second)
			place.Prove()
			place.Begin()
		}
		if _, err := p.Take(from("10.0.0.9")); err == nil {
			t.Error("there is room for a fourth")
		}
		taken[1].End()
		<-time.After(time.Second)
		taken[0].End()
		more, _ := taking(t, p, "10.0.0.9")
		wires = append(wires, more...)
		want(t, wires, "023")
		more, _ = taking(t, p, "10.0.0.9") // in the place of the one before, who has proved nothing
		wires = append(wires, more...)
		want(t, wires, "024")
		taken[0].Leave()
		taken[2].Leave()
	})
}

// TestNetworks: one network has its part at most, however its addresses are written.
func TestNetworks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(Config{Most: 9, Unproven: 9, Network: 2, Patience: time.Minute})
		for _, addresses := range [][]string{{"10.0.0.1", "::ffff:10.0.0.1", "10.0.0.1"}, {"2001:db8:0:2::1", "2001:db8:0:2::2", "2001:db8:0:2:ffff::"}} {
			wires, taken := taking(t, p, addresses...)
			want(t, wires, "12")
			for _, place := range taken {
				place.Prove()
				place.Begin()
			}
			if _, err := p.Take(from(addresses[1])); err == nil {
				t.Error("one network has more than its part")
			}
		}
		if _, err := p.Take(from("10.0.0.2")); err != nil {
			t.Errorf("another network is shut out: %v", err)
		}
	})
}

// TestIdleUnprovenEnd: who neither proves nor asks for anything is closed after a while.
func TestIdleUnprovenEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(Config{Most: 9, Unproven: 9, Patience: 10 * time.Second})
		wires, taken := taking(t, p, "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1")
		taken[0].Prove()
		taken[1].Begin()
		<-time.After(8 * time.Second)
		taken[2].Begin()
		taken[2].End()
		<-time.After(3 * time.Second)
		synctest.Wait()
		want(t, wires, "012")
		taken[1].End()
		<-time.After(8 * time.Second)
		synctest.Wait()
		want(t, wires, "01")
		if p.Of(wires[0].from) != taken[0] || p.Of(wires[3].from) != nil {
			t.Error("a place is not found, or one that was left is")
		}
		<-time.After(time.Hour)
		synctest.Wait()
		want(t, wires, "0")
		var none *Place
		none.Prove()
		none.Begin()
		none.End()
	})
}
