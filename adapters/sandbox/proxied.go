package sandbox

import (
	"net"
	"strings"

	"example.com/life/adapters/network"
	"example.com/life/adapters/sandbox/supervisor"
)

// proxied is a command's way to the network, if it has one.
type proxied struct {
	policy *network.Policy
	env    []string
	proxy  *network.Proxy // once the command's supervisor made the listener
	lines  []string
}

func (s *Sandbox) proxied(level Level) *proxied {
	rules := s.config.Network.Rules()
	switch {
	case len(rules) == 0 || level == LevelHost:
		return &proxied{}
	case level != LevelNamespaces:
		return &proxied{lines: []string{"commands reach no network at the level " + level.String() + ": what they may reach takes namespaces"}}
	}
	at := "http://" + supervisor.ProxyAddress
	env := make([]string, 0, 6)
	for _, v := range [][2]string{{"HTTP_PROXY", at}, {"HTTPS_PROXY", at}, {"NO_PROXY", direct(rules)}} {
		env = append(env, v[0]+"="+v[1], strings.ToLower(v[0])+"="+v[1]) // curl takes http_proxy in small letters alone
	}
	return &proxied{policy: s.config.Network, env: env}
}

// direct is what programs reach without the proxy: what they serve themselves, in their own network, unless that address is one of the host's that they may reach.
func direct(rules []string) string {
	names := []string{"localhost"}
	for _, address := range []string{"127.0.0.1", "::1"} {
		named := false
		for _, rule := range rules {
			host, _, err := net.SplitHostPort(rule)
			named = named || err == nil && host == address
		}
		if !named {
			names = append(names, address)
		}
	}
	return strings.Join(names, ",")
}

// serve is called at most once, before the command begins.
func (p *proxied) serve(listener net.Listener) { p.proxy = p.policy.Proxy(listener) }

// close ends the command's connections and says what they were.
func (p *proxied) close() []string {
	if p.proxy != nil {
		return p.proxy.Close()
	}
	return p.lines
}
