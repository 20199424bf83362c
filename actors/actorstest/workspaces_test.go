package actorstest_test

import (
	"testing"

	"example.com/life/actors"
	"example.com/life/actors/actorstest"
)

func TestWorkspacesFake(t *testing.T) {
	actorstest.TestWorkspaces(t, func(*testing.T) actors.Workspaces { return actorstest.NewWorkspaces() })
}
