// Package network is the way of tools to the network: an allow-list, and a proxy for commands in a sandbox.
//
// Names are resolved here and connections go to the addresses that were judged, so that a name cannot lead elsewhere a moment later. An address that is
// not public (loopback, private, link-local, where clouds keep their metadata) is refused, whatever name leads to it; to reach one, the allow-list has to
// name the address itself.
package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/idna"

	"example.com/life/events"
)

// Rule is one line of an allow-list.
type Rule struct {
	Host string // a name in lower case, with *. before it for all that is below it but not itself; or an address
	Port uint16 // 0: 80 and 443
}

// ParseRule reads example.com, *.example.com, example.com:8443, 127.0.0.1:8080 or [::1]:8080. An address needs its port.
func ParseRule(text string) (Rule, error) {
	host, port := text, ""
	if i := strings.LastIndexByte(text, ':'); i >= 0 && (strings.Count(text, ":") == 1 || strings.HasPrefix(text, "[")) && !strings.HasSuffix(text, "]") {
		host, port = text[:i], text[i+1:]
	}
	var r Rule
	if port != "" || host != text {
		number, err := strconv.ParseUint(port, 10, 16)
		if err != nil || number == 0 {
			return Rule{}, fmt.Errorf("%q: its port must be a number from 1 to 65535", text)
		}
		r.Port = uint16(number)
	}
	if addr, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		if r.Port == 0 || addr.Zone() != "" {
			return Rule{}, fmt.Errorf("%q: an address stands with a port, such as 127.0.0.1:8080 or [::1]:8080", text)
		}
		r.Host = addr.Unmap().String()
		return r, nil
	}
	name, wild := strings.CutPrefix(host, "*.")
	name, err := normal(name)
	if err != nil || wild && !strings.Contains(name, ".") {
		return Rule{}, fmt.Errorf("%q: want a name such as example.com, *.example.com or example.com:8443, or an address with a port", text)
	}
	if wild {
		name = "*." + name
	}
	r.Host = name
	return r, nil
}

// String is the rule as ParseRule reads it.
func (r Rule) String() string {
	if r.Port == 0 {
		return r.Host
	}
	return net.JoinHostPort(r.Host, strconv.Itoa(int(r.Port)))
}

// normal is a name as it is compared: in lower case, international names as DNS has them.
func normal(name string) (string, error) {
	ascii, err := idna.Lookup.ToASCII(strings.TrimSuffix(name, "."))
	if err != nil || ascii == "" || len(ascii) > 253 || strings.ContainsAny(ascii, " /:@[]%") {
		return "", errors.New("it is no name of a host")
	}
	return strings.ToLower(ascii), nil
}

func (r Rule) fits(host string, port uint16) bool {
	if r.Port != port && (r.Port != 0 || port != 80 && port != 443) {
		return false
	}
	below, wild := strings.CutPrefix(r.Host, "*")
	return r.Host == host || wild && strings.HasSuffix(host, below) && len(host) > len(below)
}

// Policy says what may be reached. It is safe for concurrent use.
type Policy struct {
	rules   []Rule
	resolve func(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// New returns a policy by which what the rules name can be reached. Without rules nothing can.
func New(rules []Rule) *Policy {
	return &Policy{rules: rules, resolve: net.DefaultResolver.LookupNetIP}
}

// Rules are the policy's rules as text, in order. A nil policy has none.
func (p *Policy) Rules() (texts []string) {
	if p == nil {
		return nil
	}
	for _, r := range p.rules {
		texts = append(texts, r.String())
	}
	return texts
}

// RefusedError says that something may not be reached.
type RefusedError struct {
	To     string // HOST:PORT as it was asked for, with nothing in it that controls a terminal
	Reason string
}

// Error implements error.
func (e *RefusedError) Error() string { return fmt.Sprintf("network_refused: %s: %s", e.To, e.Reason) }

// mostName bounds what is told of a name that was asked for, in bytes.
const mostName = 120

// place is HOST:PORT as it is told.
func place(host, port string) string {
	return events.Clip(events.VisibleLine(strings.ToValidUTF8(net.JoinHostPort(host, port), "\uFFFD")), mostName)
}

const remedy = "is not in the list of what may be reached (sandbox: {net: […]}, --sandbox-net)"

// judge returns the addresses that HOST:PORT may be reached at.
func (p *Policy) judge(ctx context.Context, host, port string) ([]netip.AddrPort, error) {
	if p == nil {
		p = New(nil)
	}
	refused := func(reason string) error { return &RefusedError{To: place(host, port), Reason: reason} }
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil || number == 0 {
		return nil, refused("its port is no number from 1 to 65535")
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		if addr = addr.Unmap(); addr.Zone() != "" || !slices.ContainsFunc(p.rules, func(r Rule) bool { return r.fits(addr.String(), uint16(number)) }) {
			return nil, refused("the address " + remedy)
		}
		return []netip.AddrPort{netip.AddrPortFrom(addr, uint16(number))}, nil
	}
	name, err := normal(host)
	if err != nil {
		return nil, refused(err.Error())
	}
	if !slices.ContainsFunc(p.rules, func(r Rule) bool { return r.fits(name, uint16(number)) }) {
		return nil, refused("it " + remedy)
	}
	found, err := p.resolve(ctx, "ip", name)
	if err != nil {
		return nil, fmt.Errorf("find the address of %s: %w", name, err)
	}
	var addresses []netip.AddrPort
	for _, addr := range found {
		if addr = addr.Unmap(); !Public(addr) {
			return nil, refused(fmt.Sprintf("its address %v is not public; the list may name the address itself, with its port", addr))
		}
		addresses = append(addresses, netip.AddrPortFrom(addr, uint16(number)))
	}
	if len(addresses) == 0 {
		return nil, fmt.Errorf("find the address of %s: it has none", name)
	}
	return addresses, nil
}

// dialFor is how long one address may take to answer.
const dialFor = 10 * time.Second

// Dial connects to HOST:PORT over TCP, if it may be reached: else the error is a [RefusedError].
func (p *Policy) Dial(ctx context.Context, host, port string) (net.Conn, error) {
	addresses, err := p.judge(ctx, host, port)
	if err != nil {
		return nil, err
	}
	dialer := net.Dialer{Timeout: dialFor}
	var failed error
	for _, address := range addresses[:min(len(addresses), 4)] {
		conn, err := dialer.DialContext(ctx, "tcp", address.String()) // an address: nothing is resolved again
		if err == nil {
			return conn, nil
		}
		failed = errors.Join(failed, err)
	}
	return nil, failed
}

// reserved are the networks that are part of no public network although they look so, or that lead to others: IANA's registries of special-purpose addresses,
// and where Azure keeps its metadata.
func reserved() []netip.Prefix {
	var all []netip.Prefix
	for _, text := range []string{
		"0.0.0.0/8", "100.64.0.0/10", "168.63.129.16/32", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
		"2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
	} {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}

// unicast is what of IPv6 is public; the rest maps other networks, or is nobody's.
func unicast() netip.Prefix { return netip.MustParsePrefix("2000::/3") }

// Public reports whether an address is one of the public internet.
func Public(addr netip.Addr) bool {
	addr = addr.Unmap()
	if !addr.IsGlobalUnicast() || addr.IsPrivate() || addr.Zone() != "" || addr.Is6() && !unicast().Contains(addr) {
		return false
	}
	return !slices.ContainsFunc(reserved(), func(p netip.Prefix) bool { return p.Contains(addr) })
}
