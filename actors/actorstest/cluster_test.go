package actorstest_test

import (
	"testing"

	"example.com/life/actors/actorstest"
	"example.com/life/events"
)

// TestClusterPeers holds the network of the fake cluster to the suite of actors.Peers.
func TestClusterPeers(t *testing.T) {
	actorstest.TestPeers(t, func(_ *testing.T, server actorstest.PeerServer) actorstest.PeersOf {
		c := actorstest.NewCluster()
		a, b := c.Join(events.HostJoined{Name: "a"}), c.Join(events.HostJoined{Name: "b"})
		b.Serve(server)
		to, _ := c.View().Member(b.Self())
		return actorstest.PeersOf{From: a.Self(), Peers: a, To: to, Stop: b.Kill}
	})
}
