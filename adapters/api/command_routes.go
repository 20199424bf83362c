package api

import (
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"

	"example.com/life/events"
	"example.com/life/sagas"
	"example.com/life/sagas/strictjson"
)

// commandRoutes lists the commands that are taken over HTTP, for the server and for its client. The first part of a path that is in
// braces is the id of the command's stream. What the path does not say is in the body, as the tags of the command have it.
func commandRoutes() []commandRoute {
	return slices.Concat(
		commandsTo(events.AgentCategory,
			commandAt("POST /v1/agents", sagas.Create{}, whole),
			commandAt("PUT /v1/agents/{agent}/config", sagas.Configure{}, func(c *sagas.Configure) parts { return parts{body: &c.Config} }),
			long(commandAt("POST /v1/agents/{agent}/messages", sagas.Send{Verb: events.Collect}, whole)),
			commandAt("POST /v1/agents/{agent}/cancel", sagas.Cancel{}, whole),
			commandAt("POST /v1/agents/{agent}/compact", sagas.Compact{}, whole),
			commandAt("POST /v1/agents/{agent}/undo", sagas.Undo{}, whole),
			commandAt("POST /v1/agents/{agent}/approve", sagas.Approve{}, whole),
			commandAt("POST /v1/agents/{agent}/revoke", sagas.Revoke{}, whole),
			commandAt("POST /v1/agents/{agent}/deny", sagas.Deny{}, whole),
			commandAt("POST /v1/agents/{agent}/answer", sagas.Answer{}, whole),
			commandAt("POST /v1/agents/{agent}/retire", sagas.Retire{}, whole),
			commandAt("POST /v1/agents/{agent}/release", sagas.Release{}, whole)),
		commandsTo(events.WalletCategory,
			commandAt("POST /v1/wallets/{wallet}", sagas.OpenWallet{}, whole),
			commandAt("POST /v1/wallets/{wallet}/credit", sagas.Credit{}, whole)),
		commandsTo(events.HomeostasisCategory,
			commandAt("PUT /v1/tenants/{tenant}/rules", sagas.Adopt{}, whole)),
		commandsTo(events.KnowledgeCategory,
			long(commandAt("POST /v1/knowledge/{tenant}", sagas.KeepNotes{}, whole))),
		commandsTo(events.ProjectionsCategory,
			long(commandAt("POST /v1/projections", sagas.AddProjection{}, whole)),
			commandAt("POST /v1/projections/{name}/remove", sagas.RemoveProjection{}, func(c *sagas.RemoveProjection) parts { return parts{body: c, name: &c.Name} }),
			commandAt("POST /v1/projections/{name}/skip", sagas.SkipEvent{}, func(c *sagas.SkipEvent) parts { return parts{body: c, name: &c.Name} })),
	)
}

// commandRoute is where one command goes.
type commandRoute struct {
	method, path string
	category     string // of the streams that take it
	command      reflect.Type
	long         bool                       // it carries a text
	open         func(sagas.Command) opened // nil: a command with nothing in it but what holds unless its body says otherwise
}

// parts are where a command's fields are in a request.
type parts struct {
	body any     // the command, or the field that stands for it
	name *string // the {name} in the path
}

// opened is a command and its parts.
type opened struct {
	parts
	made  *string // the id of the entity that it makes, if it makes one
	value func() sagas.Command
}

func commandAt[C sagas.Command](pattern string, empty C, take func(*C) parts) commandRoute {
	method, path, _ := strings.Cut(pattern, " ")
	return commandRoute{method: method, path: path, command: reflect.TypeFor[C](), open: func(given sagas.Command) opened {
		c := empty
		if given, ok := given.(C); ok {
			c = given
		}
		all := opened{parts: take(&c), value: func() sagas.Command { return c }}
		if maker, ok := any(&c).(sagas.Maker); ok {
			all.made = maker.Makes()
		}
		return all
	}}
}

// whole is the parts of a command that is all in the body.
func whole[C any](c *C) parts { return parts{body: c} }

func long(route commandRoute) commandRoute {
	route.long = true
	return route
}

func commandsTo(category string, routes ...commandRoute) []commandRoute {
	for i := range routes {
		routes[i].category = category
	}
	return routes
}

// serveCommand is the route of one command.
func (s *server) serveCommand(c commandRoute) route {
	limit := s.limits.body
	if c.long {
		limit = s.limits.message
	}
	return func(w http.ResponseWriter, r *http.Request) error {
		taken := c.open(nil)
		meta, err := s.read(w, r, limit, taken.body)
		if err != nil {
			return err
		}
		if taken.name != nil {
			*taken.name = r.PathValue("name")
		}
		id := r.PathValue(c.idName())
		switch {
		case c.category == events.ProjectionsCategory:
			id = string(sagas.DefaultTenant)
		case c.idName() == "" && *taken.made == "": // without a name it gets one that follows from the command's id, so that a retry means the same
			id = "a-" + events.HashBytes([]byte(meta.ID))[:16]
		case c.idName() == "":
			id = *taken.made
		}
		if taken.made != nil {
			*taken.made = id
			w.Header().Set("Location", c.entityPath(id))
		}
		return s.do(w, r, events.Stream(c.category+"-"+id), sagas.Identified(taken.value(), meta))
	}
}

// idName is the name, in the path, of the id of the command's stream; empty: the path does not say it.
func (c *commandRoute) idName() string {
	_, rest, _ := strings.Cut(c.path, "{")
	name, _, _ := strings.Cut(rest, "}")
	if name == "name" {
		return ""
	}
	return name
}

// entityPath is where the entity is that the command makes.
func (c *commandRoute) entityPath(id string) string {
	list, _, _ := strings.Cut(c.path, "/{")
	return list + "/" + url.PathEscape(id)
}

// callOf is the request that carries a command.
func callOf(stream events.Stream, command sagas.Command) (call, error) {
	if err := checkTaker(stream); err != nil {
		return call{}, invalid("%v", err)
	}
	category, id := stream.Split()
	routes := commandRoutes()
	at := slices.IndexFunc(routes, func(c commandRoute) bool { return c.category == category && c.command == reflect.TypeOf(command) })
	if at < 0 {
		return call{}, invalid("%T cannot be sent to %s over the API", command, stream)
	}
	c := &routes[at]
	given := c.open(command)
	path := strings.Replace(c.path, "{"+c.idName()+"}", url.PathEscape(id), 1)
	if given.made != nil && *given.made != id {
		return call{}, invalid("the command makes %q in the stream of %q", *given.made, id)
	}
	if given.name != nil {
		if _, err := projectionPath(*given.name); err != nil {
			return call{}, err
		}
		path = strings.Replace(path, "{name}", url.PathEscape(*given.name), 1)
	}
	body, err := strictjson.Write(given.body)
	if err != nil {
		return call{}, invalid("%v", err)
	}
	return call{method: c.method, path: path, body: body}, nil
}

// checkTaker reports a stream that takes no commands over the API.
func checkTaker(stream events.Stream) error {
	category, id := stream.Split()
	switch category {
	case events.AgentCategory:
		return events.AgentID(id).Validate()
	case events.WalletCategory:
		return events.WalletID(id).Validate()
	case events.HomeostasisCategory, events.KnowledgeCategory:
		return events.TenantID(id).Validate()
	case events.ProjectionsCategory:
		if events.TenantID(id) != sagas.DefaultTenant {
			return fmt.Errorf("a host keeps the projections of tenant %s only", sagas.DefaultTenant)
		}
		return nil
	}
	return fmt.Errorf("stream %q takes no commands over the API", string(stream))
}
