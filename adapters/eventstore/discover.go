package eventstore

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/gossip"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
)

// endpoint is the address of a server, as host:port, and where it is dialled when its name stands for several servers.
type endpoint struct {
	address string
	ip      string // empty: whatever the name stands for
}

// dialled is the address as gRPC wants it.
func (e endpoint) dialled() string {
	if e.ip == "" {
		return "dns:///" + e.address
	}
	return "passthrough:///" + e.numeric()
}

// numeric is the address with the number of the server in place of the name, if there is one.
func (e endpoint) numeric() string {
	_, port := split(e.address)
	if e.ip == "" {
		return e.address
	}
	return net.JoinHostPort(e.ip, port)
}

func split(address string) (host, port string) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return address, ""
	}
	return host, port
}

// String names it for people.
func (e endpoint) String() string {
	if e.ip == "" {
		return e.address
	}
	return e.address + " (" + e.ip + ")"
}

const (
	maxMembers = 32                     // of a cluster that are remembered
	maxHops    = 2                      // from nodes that name another one as the leader
	voteGrace  = 300 * time.Millisecond // for the other nodes to say who leads, after the first one did
)

// finder looks for the node to talk to: the one that the connection string names, or the leader of its cluster.
type finder struct {
	target *target

	mu      sync.Mutex
	named   string   // the leader, by a node that is none
	members []string // of the cluster, as gossip told: those that the connection string does not name
}

// find is one round. A leader that a node has named is tried first, and goes on being tried when that takes long.
func (f *finder) find(ctx context.Context) (*node, error) {
	hint := f.hint("")
	if hint == "" {
		return f.through(ctx)
	}
	missed := make(chan struct{})
	return race(ctx, func(ctx context.Context) (*node, error) {
		n, err := f.reach(ctx, endpoint{address: hint}, 0)
		if err != nil {
			f.hint(hint)
			close(missed)
		}
		return n, err
	}, func(ctx context.Context) (*node, error) {
		select {
		case <-missed:
		case <-time.After(voteGrace):
		case <-ctx.Done():
		}
		return f.through(ctx)
	})
}

// hint is where a node said that the leader is, until that turns out to be wrong.
func (f *finder) hint(wrong string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if wrong != "" && f.named == wrong {
		f.named = ""
	}
	return f.named
}

// told notes where a node said that the leader is; empty when none did.
func (f *finder) told(leader string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.named = leader
}

// race returns the node that is found first, or else the last way's error.
func race(ctx context.Context, ways ...func(ctx context.Context) (*node, error)) (*node, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	nodes, errs := make(chan *node, len(ways)), make([]error, len(ways))
	for i, way := range ways {
		go func() {
			n, err := way(ctx)
			errs[i] = err
			nodes <- n
		}()
	}
	var first *node
	for range ways {
		switch n := <-nodes; {
		case n == nil:
		case first == nil:
			first = n
			cancel()
		default:
			n.giveUp(nil)
		}
	}
	if first != nil {
		return first, nil
	}
	return nil, errs[len(ways)-1]
}

// through goes by the connection string.
func (f *finder) through(ctx context.Context) (*node, error) {
	if !f.target.cluster {
		return f.reach(ctx, endpoint{address: f.target.addresses[0]}, maxHops)
	}
	leader, witness, err := f.leader(ctx)
	if err != nil {
		return nil, err
	}
	n, err := f.reach(ctx, endpoint{address: leader}, maxHops)
	if err != nil {
		return nil, f.misnamed(leader, witness, err)
	}
	return n, nil
}

// reach connects to a server and has it prove that it leads. One that is none may name the leader.
func (f *finder) reach(ctx context.Context, to endpoint, hops int) (*node, error) {
	n, err := f.target.connect(to)
	if err != nil {
		return nil, &unreachable{to.String(), err}
	}
	failure := n.examine(ctx)
	if failure == nil {
		return n, nil
	}
	defer n.giveUp(failure)
	leader := failure.leader()
	if failure.exception != exceptionNotLeader || leader == "" || hops == 0 {
		return nil, &unreachable{to.String(), f.target.explain(ctx, n.calls, to, failure)}
	}
	named, err := f.reach(ctx, endpoint{address: leader}, hops-1)
	if err != nil {
		return nil, f.misnamed(leader, to, err)
	}
	return named, nil
}

// vote is a node's answer to the question who leads.
type vote struct {
	by     endpoint
	leader string
	err    error
}

// leader asks all nodes at once who leads, and returns whom most of them name, and one that does: a leader that was cut off from the others
// goes on naming itself for a while.
func (f *finder) leader(ctx context.Context) (string, endpoint, error) {
	asked := f.seeds(ctx)
	votes := make(chan vote, len(asked))
	for _, to := range asked {
		go func() { votes <- f.question(ctx, to) }()
	}
	var b ballot
	var grace <-chan time.Time
	for len(b.votes) < len(asked) {
		select {
		case v := <-votes:
			b.votes = append(b.votes, v)
		case <-grace:
			for _, to := range asked {
				b.miss(to)
			}
		}
		leader, by, count := b.most()
		if count > len(asked)/2 || count > 0 && len(b.votes) == len(asked) {
			return leader, by, nil
		}
		if grace == nil && (count > 0 || len(b.votes) > len(asked)/2) {
			grace = time.After(voteGrace)
		}
	}
	return "", endpoint{}, b.failure()
}

// ballot is what the nodes have answered.
type ballot struct{ votes []vote }

// miss notes that a node has not answered, if it has not.
func (b *ballot) miss(to endpoint) {
	if !slices.ContainsFunc(b.votes, func(v vote) bool { return v.by == to }) {
		b.votes = append(b.votes, vote{by: to, err: errNoVote})
	}
}

var errNoVote = errors.New("no answer")

// most is the leader that is named most often, by whom, and how often.
func (b *ballot) most() (leader string, by endpoint, most int) {
	count := map[string]int{}
	for _, v := range b.votes {
		if v.err != nil {
			continue
		}
		if count[v.leader]++; count[v.leader] > most {
			leader, by, most = v.leader, v.by, count[v.leader]
		}
	}
	return leader, by, most
}

// failure is why no leader is known.
func (b *ballot) failure() error {
	var errs []error
	for _, v := range b.votes {
		errs = append(errs, &unreachable{v.by.String(), v.err})
	}
	return joined(errs)
}

// question asks a server who leads its cluster, and who belongs to it.
func (f *finder) question(ctx context.Context, to endpoint) vote {
	v := vote{by: to}
	conn, err := f.target.dial(to, callWindow)
	if err != nil {
		v.err = err
		return v
	}
	defer conn.Close() //nolint:errcheck // it was for one question
	limited, cancel := context.WithTimeout(ctx, f.target.probe)
	defer cancel()
	answer, err := gossip.NewGossipClient(conn).Read(limited, &shared.Empty{})
	if err != nil {
		v.err = f.target.explain(ctx, conn, to, failed(err, nil))
		return v
	}
	for _, member := range answer.GetMembers() {
		at := member.GetHttpEndPoint()
		if !member.GetIsAlive() || at.GetAddress() == "" || at.GetPort() == 0 || at.GetPort() > 65535 {
			continue
		}
		address := net.JoinHostPort(at.GetAddress(), strconv.FormatUint(uint64(at.GetPort()), 10))
		if member.GetState() == gossip.MemberInfo_Leader && v.leader == "" {
			v.leader = address
		}
		f.remember(address)
	}
	if v.leader == "" {
		v.err = fmt.Errorf("of the cluster's %d members none is an alive leader at the moment%w", len(answer.GetMembers()), silent{errNoLeader})
	}
	return v
}

// remember keeps a member of the cluster as one to ask, too.
func (f *finder) remember(address string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if slices.Contains(f.target.addresses, address) || slices.Contains(f.members, address) {
		return
	}
	if f.members = append(f.members, address); len(f.members) > maxMembers {
		f.members = slices.Delete(f.members, 0, 1)
	}
}

// seeds are the nodes to ask: those that the connection string names, the servers behind the only name, and those that gossip told of.
func (f *finder) seeds(ctx context.Context) []endpoint {
	var seeds []endpoint
	for _, address := range f.target.addresses {
		seeds = append(seeds, endpoint{address: address})
	}
	if len(seeds) == 1 {
		host, _ := split(seeds[0].address)
		if ips, err := net.DefaultResolver.LookupHost(ctx, host); err == nil && len(ips) > 1 {
			seeds = nil
			for _, ip := range ips[:min(len(ips), maxMembers)] {
				seeds = append(seeds, endpoint{address: f.target.addresses[0], ip: ip})
			}
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, address := range f.members {
		seeds = append(seeds, endpoint{address: address})
	}
	return seeds
}

// misnamed says who named a leader that cannot be reached, and what usually helps when its address is none that the user gave.
func (f *finder) misnamed(leader string, by endpoint, err error) error {
	if slices.Contains(f.target.addresses, leader) {
		return fmt.Errorf("%s names the leader %w", by, err)
	}
	return fmt.Errorf("%s names the leader %w (if that address cannot be reached from here, set EVENTSTORE_ADVERTISE_HOST_TO_CLIENT_AS, and "+
		"EVENTSTORE_ADVERTISE_NODE_PORT_TO_CLIENT_AS, on each node to one that can)%w", by, err, silent{errMisnamed})
}

// unreachable is why a server cannot be used.
type unreachable struct {
	address string
	err     error
}

func (u *unreachable) Error() string { return u.address + ": " + u.err.Error() }
func (u *unreachable) Unwrap() error { return u.err }

// joined puts the errors of several servers into one line. A mistake of most of them is one of the whole; a single server's is not, for the
// others may be there in a moment.
func joined(errs []error) error {
	if len(errs) == 1 {
		return errs[0]
	}
	var mistakes, others []error
	texts := make([]string, len(errs))
	for i, err := range errs {
		if texts[i] = err.Error(); Denied(err) {
			mistakes = append(mistakes, err)
		} else {
			others = append(others, err)
		}
	}
	if len(mistakes) > len(others) {
		return mistakes[0]
	}
	return &several{text: strings.Join(texts, "; "), errs: others}
}

type several struct {
	text string
	errs []error
}

func (s *several) Error() string   { return s.text }
func (s *several) Unwrap() []error { return s.errs }
