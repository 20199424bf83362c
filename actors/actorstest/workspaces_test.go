package actorstest_test

import (
	"testing"

	"example.com/life/actors/actorstest"
	"example.com/life/actors/storage"
)

func TestWorkspacesFake(t *testing.T) {
	actorstest.TestWorkspaces(t, func(*testing.T) storage.Workspaces { return actorstest.NewWorkspaces() })
}
