package actorstest_test

import (
	"testing"

	"example.com/life/actors"
	"example.com/life/actors/actorstest"
)

func TestBlobsInMemory(t *testing.T) {
	actorstest.TestBlobs(t, func(*testing.T) actors.Blobs { return actorstest.NewBlobs() })
}
