package providers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"example.com/life/actors"
	"example.com/life/adapters/providers/anthropic"
	"example.com/life/adapters/providers/chat"
	"example.com/life/adapters/providers/endpoint"
	"example.com/life/adapters/providers/responses"
)

// dialect is a way to ask an endpoint over HTTP.
type dialect struct {
	name    string
	open    func(endpoint.Config) (actors.Model, error)
	listing endpoint.Listing
	origin  func(base string) string // of a base URL as people write it; nil: as it is
}

// dialects is the list of them. It is the only one.
func dialects() []dialect {
	return []dialect{
		{"chat", chat.New, endpoint.Listing{Path: "/models", Header: endpoint.Bearer}, nil},
		{"responses", responses.New, endpoint.Listing{Path: "/models", Header: endpoint.Bearer}, nil},
		{"anthropic", anthropic.New, endpoint.Listing{Path: "/v1/models", Header: anthropic.Header}, anthropic.Origin},
	}
}

// Dialects are the names of the dialects that an endpoint of the configuration may speak.
func Dialects() []string {
	var names []string
	for _, d := range dialects() {
		names = append(names, d.name)
	}
	return names
}

func dialectOf(name string) (dialect, error) {
	for _, d := range dialects() {
		if d.name == name {
			return d, nil
		}
	}
	return dialect{}, fmt.Errorf("there is no dialect %q, only %s", clip(name, 40), enumerated(Dialects()))
}

// Endpoint is an endpoint that the configuration names: its models are NAME/MODEL.
type Endpoint struct {
	endpoint.Config
	Dialect string
	Window  int64 // tokens of prompt and reply of its models; 0: not said
}

// over makes a provider of an endpoint.
func over(d string, config endpoint.Config, all Config) provider {
	p := provider{name: config.Name, remote: true, detail: address(config), warning: config.Warning()}
	if most := all.MaxOutput; most != nil {
		config.MaxOutput = func(model string) int64 { return most(config.Name + "/" + model) }
	}
	dialect, err := dialectOf(d)
	if err != nil {
		return p.with(nil, err)
	}
	if dialect.origin != nil {
		config.BaseURL = dialect.origin(config.BaseURL)
	}
	p.list = func(ctx context.Context) ([]endpoint.Listed, error) {
		at, err := endpoint.New(config)
		if err != nil {
			return nil, err
		}
		return at.List(ctx, dialect.listing)
	}
	return p.with(dialect.open(config))
}

// reserved are the names that the configuration cannot give to an endpoint: providers that are built in, or that stand for something else.
func reserved() []string {
	return []string{"scripted", "openai", "anthropic", "openai-responses", "route"}
}

// CheckName refuses names of endpoints that are no part of a model's name, or mean something else there.
func CheckName(name string) error {
	plain := !strings.ContainsFunc(name, func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_' })
	switch {
	case name == "" || len(name) > 32 || !plain || name[0] < 'a' || name[0] > 'z':
		return fmt.Errorf("%q cannot name an endpoint: a name is a letter and at most 31 more letters, digits, - and _, in lower case", clip(name, 40))
	case slices.Contains(reserved(), name):
		return fmt.Errorf("%s is built in: give the endpoint another name, such as my-%s", name, name)
	}
	return nil
}

// enumerated is a list as a sentence has it.
func enumerated(names []string) string {
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}

// ErrNotListed says that a provider's models are in no list.
var ErrNotListed = errors.New("it has no list of models")

// List asks a provider which models it has.
func (s *Set) List(ctx context.Context, name string) ([]endpoint.Listed, error) {
	for _, p := range s.providers {
		if p.name == name {
			if p.list == nil {
				return nil, ErrNotListed
			}
			if p.err != nil {
				return nil, p.err
			}
			return p.list(ctx)
		}
	}
	return nil, fmt.Errorf("there is no provider %q", clip(name, 40))
}

// Names are the names of the providers.
func (s *Set) Names() []string {
	names := make([]string, len(s.providers))
	for i, p := range s.providers {
		names[i] = p.name
	}
	return names
}
