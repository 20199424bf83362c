// Package vault gathers the secrets that a command line knows: what its settings hold, and what they name for tools.
package vault

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"example.com/life/adapters/mcp"
	"example.com/life/adapters/providers"
	"example.com/life/adapters/secrets"
	"example.com/life/cmd/stores"
)

// Config says where secrets are.
type Config struct {
	Getenv      func(string) string
	Models      providers.Config
	TokenFile   string // of life serve
	Credentials string // file with user:password of the store
	Store       string // its address, which may hold them
	Named       string // the setting secrets
	Servers     []mcp.Server
}

// Open gathers the secrets. One that tools may be given must be there; of the others those are known that can be read.
func Open(c Config) (*secrets.Masker, error) {
	known := providerKeys(c.Models)
	if token, err := stores.ReadSecret("the token", c.TokenFile); err == nil {
		known = append(known, secrets.Known{Name: "token-file", Value: token})
	}
	if text, err := stores.ReadSecret("the store's credentials", c.Credentials); err == nil {
		_, password, _ := strings.Cut(text, ":")
		known = append(known, secrets.Known{Name: "store-credentials-file", Value: password})
	}
	if _, rest, found := strings.Cut(c.Store, "://"); found {
		user := rest[:stores.UserEnd(rest)]
		if _, password, found := strings.Cut(strings.TrimSuffix(user, "@"), ":"); found {
			known = append(known, secrets.Known{Name: "store-password", Value: password})
			if plain, err := url.PathUnescape(password); err == nil && plain != password {
				known = append(known, secrets.Known{Name: "store-password", Value: plain})
			}
		}
	}
	for i := range c.Servers {
		for _, value := range append([]string{c.Servers[i].Key}, c.Servers[i].Secrets...) {
			if value != "" {
				known = append(known, secrets.Known{Name: "mcp-" + c.Servers[i].Name, Value: value})
			}
		}
	}
	named, err := ReadNamed(c.Named, c.Getenv)
	if err != nil {
		return nil, err
	}
	return secrets.New(append(named, known...))
}

// providerKeys are the keys of models' providers, in the environment or in a file.
func providerKeys(c providers.Config) (known []secrets.Known) {
	for name, key := range c.Keys() {
		known = append(known, secrets.Known{Name: name, Value: key})
	}
	return known
}

var variable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,63}$`)

// reserved are variables that commands have anyway, or that change how they are run.
func reserved(name string) bool {
	switch name {
	case "PATH", "HOME", "TMPDIR", "PWD", "LANG", "TERM", "BASH_ENV", "ENV", "SHELLOPTS", "BASHOPTS", "IFS":
		return true
	}
	return strings.HasPrefix(name, "LD_")
}

// Names reads the names in the setting secrets: NAME is a variable of the host's environment, NAME=FILE is what is in a file.
func Names(setting string) (names, files []string, err error) {
	for part := range strings.SplitSeq(setting, ",") {
		name, file, isFile := strings.Cut(strings.TrimSpace(part), "=")
		if name == "" && !isFile || name == "none" && !isFile {
			continue
		}
		switch {
		case !variable.MatchString(name):
			return nil, nil, fmt.Errorf("%q is not the name of an environment variable: write NAME, or NAME=FILE", name)
		case reserved(name):
			return nil, nil, fmt.Errorf("%s is a variable that every command has, and cannot be a secret", name)
		case isFile && !filepath.IsAbs(file):
			return nil, nil, fmt.Errorf("%s: the file %q is not an absolute path", name, file)
		}
		names, files = append(names, name), append(files, file)
	}
	return names, files, nil
}

// ReadNamed reads the secrets that the setting names.
func ReadNamed(setting string, getenv func(string) string) ([]secrets.Known, error) {
	names, files, err := Names(setting)
	if err != nil {
		return nil, fmt.Errorf("setting secrets: %w", err)
	}
	var known []secrets.Known
	for i, name := range names {
		value, from := getenv(name), "the environment variable "+name
		if files[i] != "" {
			from = files[i]
			text, err := readFile(from)
			if err != nil {
				return nil, fmt.Errorf("setting secrets: read %s: %w", name, err)
			}
			value = text
		}
		if value == "" || strings.ContainsRune(value, 0) {
			return nil, fmt.Errorf("setting secrets: %s is empty, or has a NUL in it: set it, or take %s out of the setting", from, name)
		}
		known = append(known, secrets.Known{Name: name, Value: value, Tools: true})
	}
	return known, nil
}

// mostSecret bounds the file of a secret, in bytes: a private key fits.
const mostSecret = 64 << 10

func readFile(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() || info.Size() > mostSecret {
		return "", fmt.Errorf("it is no file of at most %d bytes", mostSecret)
	}
	text, err := os.ReadFile(path)
	return strings.TrimRight(string(text), "\r\n"), err
}
