package cmd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"example.com/life/adapters/api"
	"example.com/life/cmd/stores"
)

// reachServe returns the running life serve of the data directory, or why there is none.
func (a *app) reachServe(ctx context.Context) (reached, error) {
	data := a.config.get("data")
	where, err := readServing(data)
	if err != nil {
		return reached{}, err
	}
	token, err := readToken(where.TokenFile)
	if err != nil {
		return reached{}, err
	}
	client, err := api.NewClient(api.ClientConfig{BaseURL: where.Address, Token: token})
	if err != nil {
		return reached{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, healthTime)
	defer cancel()
	health, err := client.Health(ctx)
	if err == nil && (health.PID != where.PID || health.Data != data) {
		err = fmt.Errorf("%s is served by process %d on %s", where.Address, health.PID, health.Data)
	}
	if mine := a.config.storeName(); err == nil && where.Store != mine && where.Store != "" {
		return reached{}, errors.Join(&elsewhere{data: data, pid: where.PID, theirs: where.Store, mine: mine}, client.Close())
	}
	if err != nil {
		return reached{}, errors.Join(fmt.Errorf("ask the life serve at %s: %w", where.Address, err), client.Close())
	}
	return reached{fullHost: served{client, data}, close: func(time.Duration) error { return client.Close() }}, nil
}

// noteHostSettings names the flags that have no effect, because they belong to the life serve that was reached.
func (a *app) noteHostSettings() {
	for _, e := range a.config.values {
		if e.host && strings.HasPrefix(e.source, "flag") {
			fmt.Fprintf(a.errs, "life: --%s has no effect here: it is a setting of the running life serve; restart life serve with it\n", e.flag)
		}
	}
}

// elsewhere says that the life serve of a data directory stores events in another place than the verb is told to.
type elsewhere struct {
	data         string
	pid          int
	theirs, mine string
}

// Error names both places and the remedy.
func (e *elsewhere) Error() string {
	return fmt.Sprintf("the life serve on %s, process %d, stores its events in %s, but the setting store is %s: use the same store, or another --data", e.data, e.pid, e.theirs, e.mine)
}

// readToken reads the token that life serve asks for; without a file there is none.
func readToken(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	return stores.ReadSecret("the token", path)
}
