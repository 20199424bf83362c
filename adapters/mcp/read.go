package mcp

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// written is a server in a configuration file.
type written struct {
	Command  []string          `yaml:"command"`
	Env      map[string]string `yaml:"env"`
	EnvFiles map[string]string `yaml:"env_files"`
	EnvFrom  []string          `yaml:"env_from"`
	URL      string            `yaml:"url"`
	Headers  map[string]string `yaml:"headers"`
	KeyFile  string            `yaml:"key_file"`
	KeyEnv   string            `yaml:"key_env"`
	Tools    []string          `yaml:"tools"`
	ReadOnly []string          `yaml:"read_only"`
	Connect  string            `yaml:"connect_timeout"`
	Call     string            `yaml:"call_timeout"`
}

// ReadServers reads the servers of a configuration file:
//
//	files:
//	  command: [mcp-server-filesystem, .]       # a program: it runs in the sandbox, in the agent's workspace
//	  env: {LEVEL: debug}                       # its environment
//	  env_files: {TOKEN: token.txt}             # variables whose values are in files
//	  env_from: [BANK_TOKEN]                    # variables of the host that it gets
//	  tools: [read_*, list_directory]           # which of its tools agents may use; all, if it is not said
//	  read_only: [list_directory]               # which change nothing
//	  connect_timeout: 20s
//	  call_timeout: 2m
//	tracker:
//	  url: https://mcp.example.com/mcp          # a machine
//	  key_file: key.txt                         # with its bearer token; or key_env: VARIABLE
//	  headers: {X-Team: books}
//
// A file that is not absolute is one below dir. No node: there are no servers.
func ReadServers(node *yaml.Node, dir string, getenv func(string) string) ([]Server, error) {
	if node == nil {
		return nil, nil
	}
	var all map[string]yaml.Node
	if err := node.Decode(&all); err != nil {
		return nil, fmt.Errorf("line %d: mcp: want servers by name, such as {files: {command: [mcp-server-filesystem, .]}}: %w", node.Line, err)
	}
	var servers []Server
	for _, name := range slices.Sorted(maps.Keys(all)) {
		of := all[name]
		if err := CheckName(name); err != nil {
			return nil, fmt.Errorf("line %d: mcp: %w", of.Line, err)
		}
		server, err := readServer(name, &of, dir, getenv)
		if err != nil {
			return nil, fmt.Errorf("line %d: mcp: %s: %w", of.Line, name, err)
		}
		servers = append(servers, server)
	}
	return servers, nil
}

func readServer(name string, node *yaml.Node, dir string, getenv func(string) string) (s Server, err error) {
	encoded, err := yaml.Marshal(node)
	if err != nil {
		return s, err
	}
	var w written
	strict := yaml.NewDecoder(bytes.NewReader(encoded))
	strict.KnownFields(true)
	if err := strict.Decode(&w); err != nil {
		return s, fmt.Errorf("want {command: [PROGRAM, ARGUMENT]} or {url: URL}: %w", err)
	}
	if err := w.check(); err != nil {
		return s, err
	}
	s = Server{Name: name, Command: w.Command, URL: w.URL, Headers: w.Headers, Tools: w.Tools, ReadOnly: w.ReadOnly}
	for _, t := range []struct {
		text  string
		into  *time.Duration
		usual time.Duration
		key   string
	}{{w.Connect, &s.Connect, defaultConnect, "connect_timeout"}, {w.Call, &s.Call, defaultCall, "call_timeout"}} {
		*t.into = t.usual
		if t.text == "" {
			continue
		}
		if *t.into, err = time.ParseDuration(t.text); err != nil || *t.into <= 0 || *t.into > mostTime {
			return s, fmt.Errorf("%s is %q, want a duration of at most %v, such as 30s", t.key, t.text, mostTime)
		}
	}
	if err := w.environment(&s, dir, getenv); err != nil {
		return s, err
	}
	switch {
	case w.KeyFile != "":
		s.Key, err = readSecret(dir, w.KeyFile)
	case w.KeyEnv != "":
		if s.Key = getenv(w.KeyEnv); s.Key == "" {
			err = fmt.Errorf("key_env: the variable %s is empty", w.KeyEnv)
		}
	}
	if strings.ContainsAny(s.Key, "\r\n\x00") {
		err = errors.New("the key has a line end in it")
	}
	return s, err
}

// check refuses what is neither a program nor a machine, or both.
func (w *written) check() error {
	switch {
	case (len(w.Command) > 0) == (w.URL != ""):
		return errors.New("say either command, for a program, or url")
	case w.URL != "" && len(w.Env)+len(w.EnvFiles)+len(w.EnvFrom) > 0:
		return errors.New("env, env_files and env_from are for programs, not for a url")
	case w.URL == "" && (w.KeyFile != "" || w.KeyEnv != "" || len(w.Headers) > 0):
		return errors.New("key_file, key_env and headers are for a url, not for a program")
	case w.KeyFile != "" && w.KeyEnv != "":
		return errors.New("key_file and key_env: name only one of them")
	case w.URL == "" && (w.Command[0] == "" || strings.ContainsAny(w.Command[0], "=")):
		return fmt.Errorf("%q is no name of a program", w.Command[0])
	}
	for _, arg := range w.Command {
		if strings.ContainsRune(arg, 0) {
			return errors.New("an argument has a NUL in it")
		}
	}
	for _, pattern := range w.Tools {
		if _, err := path.Match(pattern, ""); err != nil {
			return fmt.Errorf("tools: the pattern %q is malformed", pattern)
		}
	}
	if w.URL == "" {
		return nil
	}
	address, err := url.Parse(w.URL)
	switch {
	case err != nil:
		return errors.New("url is malformed")
	case address.Scheme != "https" && address.Scheme != "http" || address.Host == "":
		return errors.New("url must begin with https:// or http://")
	case address.User != nil:
		return errors.New("url must have no password in it: name a file with key_file")
	case address.Scheme == "http" && (w.KeyFile != "" || w.KeyEnv != "") && !loopback(address.Hostname()):
		return errors.New("a key is not sent over http:// to another machine: use https://")
	}
	for name, value := range w.Headers {
		if !headerName(name) || strings.ContainsAny(value, "\r\n\x00") {
			return fmt.Errorf("headers: %q is no header", name)
		}
		if strings.EqualFold(name, "Authorization") {
			return errors.New("headers: name a file with the key in key_file, in place of Authorization")
		}
	}
	return nil
}

func loopback(host string) bool { return host == "localhost" || host == "127.0.0.1" || host == "::1" }

func headerName(name string) bool {
	return name != "" && strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") == ""
}

// environment gathers the variables of a program.
func (w *written) environment(s *Server, dir string, getenv func(string) string) error {
	s.Env = map[string]string{}
	add := func(name, value string) error {
		switch _, twice := s.Env[name]; {
		case name == "" || strings.ContainsAny(name, "=\x00") || strings.ContainsRune(value, 0):
			return fmt.Errorf("%q is no variable", name)
		case twice:
			return fmt.Errorf("the variable %s is there twice", name)
		case slices.Contains([]string{"PATH", "HOME", "TMPDIR", "PWD"}, name) || strings.HasPrefix(name, "LD_"):
			return fmt.Errorf("the variable %s is the sandbox's", name)
		}
		s.Env[name] = value
		return nil
	}
	for name, value := range w.Env {
		if err := add(name, value); err != nil {
			return fmt.Errorf("env: %w", err)
		}
	}
	for name, file := range w.EnvFiles {
		value, err := readSecret(dir, file)
		if err := cmp.Or(err, add(name, value)); err != nil {
			return fmt.Errorf("env_files: %w", err)
		}
		s.Secrets = append(s.Secrets, value)
	}
	for _, name := range w.EnvFrom {
		value := getenv(name)
		if value == "" {
			return fmt.Errorf("env_from: the variable %s is empty", name)
		}
		if err := add(name, value); err != nil {
			return fmt.Errorf("env_from: %w", err)
		}
		s.Secrets = append(s.Secrets, value)
	}
	return nil
}

// mostSecret bounds the file of a secret, in bytes.
const mostSecret = 64 << 10

func readSecret(dir, file string) (string, error) {
	if !filepath.IsAbs(file) {
		file = filepath.Join(dir, file)
	}
	opened, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer opened.Close()
	text, err := io.ReadAll(io.LimitReader(opened, mostSecret+1))
	secret := strings.TrimRight(string(text), "\r\n")
	if err == nil && (secret == "" || len(text) > mostSecret) {
		err = fmt.Errorf("%s is empty, or larger than %d bytes", file, mostSecret)
	}
	return secret, err
}
