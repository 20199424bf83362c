package eventstore

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// target is a connection string, understood.
type target struct {
	name      string   // the string without credentials, for people
	addresses []string // host:port
	cluster   bool     // the addresses are asked who the leader is
	attempts  int      // rounds of discovery before Open gives up; 0: until its context ends
	interval  time.Duration
	probe     time.Duration // how long one question of a discovery may take
	deadline  time.Duration // how long one attempt to append may take
	silence   time.Duration // how long a read may be without a message
	longest   time.Duration // how long an attempt may take that is repeated because the one before was cut off
	idle      time.Duration // before a ping is sent; negative: never
	pong      time.Duration // how long its answer may take
	secure    bool
	caFile    string // that the server's certificate has to be signed by; empty: those of this machine
	user      string // whose credentials are sent; empty: nobody's
	userFile  string // of a certificate that says who the user is
	transport credentials.TransportCredentials
	login     credentials.PerRPCCredentials // nil: none is sent
}

const (
	schemeNode    = "esdb://"
	schemeCluster = "esdb+discover://"

	standardPort     = "2113"
	standardDeadline = 5 * time.Second // EventStoreDB itself gives up an append after 2 s
	standardLongest  = time.Minute
	standardSilence  = 30 * time.Second
	standardProbe    = 2 * time.Second
	standardPong     = 2 * time.Second
)

var errConnection = errors.New("invalid connection string")

// parseTarget reads a connection string. The official parser reads it too, so that it means here what it means elsewhere; what that
// one lets pass or reads wrongly is refused before, and it is never shown the credentials, which its errors would repeat.
func parseTarget(config Config) (*target, []string, error) {
	text, err := splitConnection(config.Connection)
	if err != nil {
		return nil, nil, err
	}
	if config.Username != "" || config.Password != "" {
		text.user, text.password = config.Username, config.Password
	}
	if (text.user == "") != (text.password == "") {
		return nil, nil, fmt.Errorf("%w: a user name and its password belong together, and one of them is missing", errConnection)
	}
	parsed, err := esdb.ParseConnectionString(text.scheme + strings.Join(text.hosts, ",") + "?" + text.settings.Encode())
	if err != nil {
		if file := text.get("tlscafile"); file != "" && strings.Contains(err.Error(), "certificate") {
			err = fmt.Errorf("tlsCAFile=%s: %w", file, err)
		}
		return nil, nil, fmt.Errorf("%w: %w", errConnection, err)
	}
	t := &target{
		name: text.scheme + strings.Join(text.hosts, ","), addresses: text.hosts, cluster: text.scheme == schemeCluster || len(text.hosts) > 1,
		interval: time.Duration(parsed.DiscoveryInterval) * time.Millisecond, probe: standardProbe,
		deadline: standardDeadline, silence: standardSilence, longest: standardLongest, idle: parsed.KeepAliveInterval, pong: standardPong, caFile: text.get("tlscafile"), userFile: text.get("usercertfile"),
	}
	if text.has("gossiptimeout") {
		t.probe = time.Duration(parsed.GossipTimeout) * time.Second
	}
	if text.has("keepalivetimeout") {
		t.pong = parsed.KeepAliveTimeout
	}
	if parsed.DefaultDeadline != nil {
		t.deadline, t.silence, t.longest = *parsed.DefaultDeadline, *parsed.DefaultDeadline, *parsed.DefaultDeadline
	}
	if text.has("maxdiscoverattempts") {
		t.attempts = parsed.MaxDiscoverAttempts
	}
	return t, t.protect(text, parsed), t.protectError(parsed)
}

// protect sets the credentials and tells what about the string is not as its author may think.
func (t *target) protect(text connectionString, parsed *esdb.Configuration) (warnings []string) {
	if parsed.NodePreference != esdb.NodePreferenceLeader {
		warnings = append(warnings, "nodePreference="+strings.ToLower(parsed.NodePreference.String())+
			" is not followed: another node than the leader answers with what was true a moment ago, and appends are decided on that")
	}
	if parsed.DisableTLS {
		t.transport = insecure.NewCredentials()
		if text.user != "" {
			warnings = append(warnings, "the user name and password are not sent, because the connection is not encrypted (tls=false)")
		}
		return warnings
	}
	if parsed.SkipCertificateVerification {
		warnings = append(warnings, "the server's certificate is not verified (tlsVerifyCert=false): anyone in between can read and change everything")
	}
	t.secure = true
	if text.user != "" {
		t.user, t.login = text.user, newLogin(text.user, text.password)
	}
	return warnings
}

// protectError makes the transport, which fails when a certificate cannot be read.
func (t *target) protectError(parsed *esdb.Configuration) error {
	if err := parsed.Validate(); err != nil {
		return fmt.Errorf("%w: %w", errConnection, err)
	}
	if t.transport != nil {
		return nil
	}
	config := &tls.Config{
		RootCAs: parsed.RootCAs, MinVersion: tls.VersionTLS12,
		InsecureSkipVerify: parsed.SkipCertificateVerification, //nolint:gosec // asked for by tlsVerifyCert=false, and warned of
	}
	if parsed.UserCertFile != "" {
		certificate, err := tls.LoadX509KeyPair(parsed.UserCertFile, parsed.UserKeyFile)
		if err != nil {
			return fmt.Errorf("read the user's certificate (userCertFile, userKeyFile): %w", err)
		}
		config.Certificates = []tls.Certificate{certificate}
	}
	t.transport = credentials.NewTLS(config)
	return nil
}

// connectionString is a connection string taken apart.
type connectionString struct {
	scheme         string
	user, password string
	hosts          []string // host:port
	settings       url.Values
}

func (c *connectionString) has(setting string) bool { return c.get(setting) != "" }

// get returns a setting, whose name is given in small letters.
func (c *connectionString) get(setting string) string {
	for name := range c.settings {
		if strings.ToLower(name) == setting {
			return c.settings.Get(name)
		}
	}
	return ""
}

// splitConnection takes a connection string apart. Its errors never repeat the part that holds the credentials.
func splitConnection(text string) (c connectionString, err error) {
	rest, found := strings.CutPrefix(text, schemeNode)
	if c.scheme = schemeNode; !found {
		c.scheme = schemeCluster
		if rest, found = strings.CutPrefix(text, schemeCluster); !found {
			return c, fmt.Errorf("%w: it must begin with %s for a node, or %s for a cluster's DNS name", errConnection, schemeNode, schemeCluster)
		}
	}
	authority, query, _ := strings.Cut(rest, "?")
	if at := strings.LastIndexByte(authority, '@'); at >= 0 {
		if err := c.login(authority[:at]); err != nil {
			return c, err
		}
		authority = authority[at+1:]
	}
	for _, host := range strings.Split(strings.TrimSuffix(authority, "/"), ",") {
		address, err := checkAddress(host)
		if err != nil {
			return c, err
		}
		c.hosts = append(c.hosts, address)
	}
	return c, c.query(query)
}

func (c *connectionString) login(text string) error {
	user, password, _ := strings.Cut(text, ":")
	var errs [2]error
	c.user, errs[0] = url.PathUnescape(user)
	c.password, errs[1] = url.PathUnescape(password)
	if errs[0] != nil || errs[1] != nil {
		return fmt.Errorf("%w: the user name or password has a %% that begins no escape: write %%25 for it", errConnection)
	}
	if strings.ContainsAny(text, "/?") {
		return fmt.Errorf("%w: the user name or password has a / or ?: write %%2F or %%3F", errConnection)
	}
	return nil
}

// checkAddress checks host:port and fills in the standard port.
func checkAddress(text string) (string, error) {
	host, port, given := strings.Cut(text, ":")
	if !given {
		port = standardPort
	}
	switch number, err := strconv.Atoi(port); {
	case strings.ContainsAny(text, "[]") || strings.Count(text, ":") > 1:
		return "", fmt.Errorf("%w: %q is an IPv6 address, which EventStoreDB's connection strings cannot hold: use a name", errConnection, text)
	case host == "":
		return "", fmt.Errorf("%w: it names no host, or one of several is empty", errConnection)
	case strings.ContainsAny(host, "/ #%") || !utf8.ValidString(host):
		return "", fmt.Errorf("%w: %q is no host", errConnection, text)
	case err != nil || number < 1 || number > 65535:
		return "", fmt.Errorf("%w: the port of %q is no number from 1 to 65535", errConnection, text)
	}
	return host + ":" + port, nil
}

// query reads the settings, and keeps those that the official parser knows.
func (c *connectionString) query(text string) error {
	given, err := url.ParseQuery(text)
	if err != nil {
		return fmt.Errorf("%w: the settings after the ? are not name=value joined by &, with special characters escaped", errConnection)
	}
	c.settings = url.Values{}
	seen := map[string]bool{}
	for name, values := range given {
		lower := strings.ToLower(name)
		if len(values) > 1 || seen[lower] {
			return fmt.Errorf("%w: the setting %s is given more than once", errConnection, name)
		}
		seen[lower] = true
		known, err := checkSetting(name, values[0])
		if err != nil {
			return err
		}
		if known {
			c.settings.Set(name, values[0])
		}
	}
	return nil
}

// checkSetting checks a value. Not known to the official parser are settings that other clients have and that mean nothing here.
func checkSetting(name, value string) (known bool, err error) {
	wrong := func(want string) (bool, error) {
		return false, fmt.Errorf("%w: the setting %s is %q, want %s", errConnection, name, value, want)
	}
	number, numberErr := strconv.Atoi(value)
	switch strings.ToLower(name) {
	case "tls", "tlsverifycert":
		if _, err := strconv.ParseBool(strings.ToLower(value)); err != nil {
			return wrong("true or false")
		}
	case "tlscafile", "usercertfile", "userkeyfile":
		if _, err := os.Stat(value); err != nil {
			return wrong("a file that can be read")
		}
	case "maxdiscoverattempts", "discoveryinterval", "gossiptimeout", "keepalivetimeout", "defaultdeadline":
		if numberErr != nil || number < 1 || number > 1<<31 {
			return wrong("a positive number")
		}
	case "keepaliveinterval":
		if numberErr != nil || number < 10_000 && number != -1 || number > 1<<31 {
			return wrong("milliseconds, at least 10000, or -1 for none")
		}
	case "nodepreference":
		switch strings.ToLower(value) {
		case "leader", "follower", "random", "readonlyreplica":
		default:
			return wrong("leader")
		}
	case "connectionname", "throwonappendfailure":
		return false, nil
	default:
		return false, fmt.Errorf("%w: the setting %s is not known; known are tls, tlsVerifyCert, tlsCAFile, userCertFile, userKeyFile, "+
			"maxDiscoverAttempts, discoveryInterval, gossipTimeout, nodePreference, keepAliveInterval, keepAliveTimeout and defaultDeadline", errConnection, name)
	}
	return true, nil
}

// login sends a user name and password with each call. It holds them in the form in which they are sent, and nothing prints it.
type login struct{ header map[string]string }

func newLogin(user, password string) *login {
	return &login{header: map[string]string{"authorization": "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))}}
}

// GetRequestMetadata implements credentials.PerRPCCredentials.
func (l *login) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return l.header, nil
}

// RequireTransportSecurity implements credentials.PerRPCCredentials.
func (*login) RequireTransportSecurity() bool { return true }
