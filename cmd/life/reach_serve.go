package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"example.com/life/adapters/api"
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
		err = fmt.Errorf("%s is answered by process %d on %s", where.Address, health.PID, health.Data)
	}
	if err != nil {
		return reached{}, errors.Join(fmt.Errorf("ask the life serve at %s: %w", where.Address, err), client.Close())
	}
	return reached{driver: client, inspector: client, close: func(time.Duration) error { return client.Close() }}, nil
}

// readToken reads the token that life serve asks for; without a file there is none.
func readToken(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	file, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("read the token: %w", err)
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, 4<<10))
	if err != nil {
		return "", fmt.Errorf("read the token: %w", err)
	}
	token := strings.TrimSpace(string(text))
	if token == "" {
		return "", fmt.Errorf("read the token: %s is empty", path)
	}
	return token, nil
}
