package network

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
)

func rules(t *testing.T, texts ...string) (all []Rule) {
	t.Helper()
	for _, text := range texts {
		r, err := ParseRule(text)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
	return all
}

func TestParseRule(t *testing.T) {
	for text, want := range map[string]string{
		"example.com": "example.com", "Example.COM.": "example.com", "*.example.com": "*.example.com", "example.com:8443": "example.com:8443", "*.a.b:22": "*.a.b:22",
		"127.0.0.1:80": "127.0.0.1:80", "[::1]:80": "[::1]:80", "[::ffff:127.0.0.1]:80": "127.0.0.1:80", "münchen.example": "xn--mnchen-3ya.example", "localhost:80": "localhost:80",
	} {
		r, err := ParseRule(text)
		if err != nil || r.String() != want {
			t.Errorf("%q is %v, %v, want %s", text, r, err, want)
		}
	}
	for _, text := range []string{"", "*", "*.com", "*.", "a*b.com", "*.*.com", "http://a.com", "a.com/x", "a.com:", "a.com:0", "a.com:65536", "a.com:x", "127.0.0.1", "::1", "[::1]", "[fe80::1%eth0]:80", "a b", "u@a.com", "[]:1"} {
		if r, err := ParseRule(text); err == nil {
			t.Errorf("%q is taken for %v", text, r)
		}
	}
}

func FuzzParseRule(f *testing.F) {
	for _, seed := range []string{"example.com", "*.example.com:1", "[::1]:80", "127.0.0.1:1", "*.xn--mnchen-3ya.example", ":::1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := ParseRule(text)
		if err != nil {
			return
		}
		if again, err := ParseRule(r.String()); err != nil || again != r {
			t.Errorf("%q is %v, and that is %v, %v", text, r, again, err)
		}
	})
}

func TestPublic(t *testing.T) {
	for text, want := range map[string]bool{
		"8.8.8.8": true, "93.184.215.14": true, "2606:4700::1111": true, "::ffff:8.8.8.8": true,
		"127.0.0.1": false, "127.8.8.8": false, "::1": false, "0.0.0.0": false, "0.1.2.3": false, "::": false, "10.1.2.3": false, "172.16.0.1": false, "192.168.1.1": false,
		"169.254.169.254": false, "fe80::1": false, "fe80::1%eth0": false, "fd00:ec2::254": false, "fec0::1": false, "224.0.0.1": false, "ff02::1": false, "239.1.1.1": false, "255.255.255.255": false,
		"240.0.0.1": false, "100.64.0.1": false, "100.100.100.200": false, "168.63.129.16": false, "192.0.0.192": false, "198.18.0.1": false, "203.0.113.9": false,
		"::ffff:127.0.0.1": false, "::ffff:10.0.0.1": false, "::127.0.0.1": false, "64:ff9b::7f00:1": false, "64:ff9b:1::1": false, "2002:7f00:1::": false, "2001::1": false, "2001:db8::1": false,
	} {
		if got := Public(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s: public is %v, want %v", text, got, want)
		}
	}
}

func TestJudge(t *testing.T) {
	p := New(rules(t, "example.com", "*.wide.example", "odd.example:8443", "127.0.0.1:5000", "inside.example", "mixed.example"))
	asked := map[string]int{}
	p.resolve = func(_ context.Context, _, host string) ([]netip.Addr, error) {
		asked[host]++
		found := map[string][]string{
			"example.com": {"93.184.215.14", "2606:4700::1"}, "a.wide.example": {"::ffff:8.8.8.8"}, "a.b.wide.example": {"8.8.4.4"}, "odd.example": {"8.8.8.8"},
			"inside.example": {"10.0.0.7"}, "mixed.example": {"8.8.8.8", "169.254.169.254"},
		}[host]
		if found == nil {
			return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
		}
		var addrs []netip.Addr
		for _, text := range found {
			addrs = append(addrs, netip.MustParseAddr(text))
		}
		return addrs, nil
	}
	for _, test := range []struct{ host, port, want string }{
		{"example.com", "443", "93.184.215.14:443"},
		{"EXAMPLE.com.", "80", "93.184.215.14:80"},
		{"example.com", "22", "is not in the list"},
		{"www.example.com", "443", "is not in the list"},
		{"badexample.com", "443", "is not in the list"},
		{"a.wide.example", "443", "8.8.8.8:443"},
		{"a.b.wide.example", "443", "8.8.4.4:443"},
		{"wide.example", "443", "is not in the list"},
		{"xwide.example", "443", "is not in the list"},
		{".wide.example", "443", "is not in the list"},
		{"odd.example", "8443", "8.8.8.8:8443"},
		{"odd.example", "443", "is not in the list"},
		{"127.0.0.1", "5000", "127.0.0.1:5000"},
		{"::ffff:127.0.0.1", "5000", "127.0.0.1:5000"},
		{"127.0.0.1", "5001", "is not in the list"},
		{"127.1", "5000", "is not in the list"},
		{"2130706433", "5000", "is not in the list"},
		{"0x7f.1", "5000", "is not in the list"},
		{"localhost", "5000", "is not in the list"},
		{"169.254.169.254", "80", "is not in the list"},
		{"8.8.8.8", "443", "is not in the list"},
		{"inside.example", "443", "10.0.0.7 is not public"},
		{"mixed.example", "443", "169.254.169.254 is not public"},
		{"example.com", "0", "no number"},
		{"example.com", "https", "no number"},
		{"example.com\x1b[2J", "443", "no name"},
		{"", "443", "no name"},
	} {
		got, err := p.judge(t.Context(), test.host, test.port)
		text := ""
		if len(got) > 0 {
			text = got[0].String()
		}
		var refused *RefusedError
		if err != nil {
			text = err.Error()
			if !errors.As(err, &refused) {
				t.Errorf("%s:%s: %v is no refusal", test.host, test.port, err)
			}
		}
		if !strings.Contains(text, test.want) || strings.Contains(text, "\x1b") {
			t.Errorf("%s:%s: %q, want %q", test.host, test.port, text, test.want)
		}
	}
	for name := range asked {
		if strings.Contains(name, "bad") || name == "localhost" || name == "127.1" {
			t.Errorf("%s was looked up although nothing allows it", name)
		}
	}
}

// TestDialIsPinned: a name that leads elsewhere when it is looked up again is not looked up again.
func TestDialIsPinned(t *testing.T) {
	p := New(rules(t, "rebinding.example:1"))
	asked := 0
	p.resolve = func(context.Context, string, string) ([]netip.Addr, error) {
		asked++
		if asked > 1 {
			return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
		}
		return []netip.Addr{netip.MustParseAddr("192.168.0.1")}, nil
	}
	_, err := p.Dial(t.Context(), "rebinding.example", "1")
	var refused *RefusedError
	if !errors.As(err, &refused) || asked != 1 {
		t.Errorf("%v after %d look-ups", err, asked)
	}
}
