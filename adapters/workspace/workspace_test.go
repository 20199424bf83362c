package workspace_test

import (
	"testing"

	"example.com/life/actors/actorstest"
	"example.com/life/actors/storage"
	"example.com/life/adapters/workspace"
)

func open(t *testing.T, c workspace.Config) *workspace.Store {
	t.Helper()
	if c.Blobs == nil {
		c.Blobs = actorstest.NewBlobs()
	}
	store, err := workspace.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func TestWorkspaces(t *testing.T) {
	actorstest.TestWorkspaces(t, func(t *testing.T) storage.Workspaces { return open(t, workspace.Config{}) })
}
