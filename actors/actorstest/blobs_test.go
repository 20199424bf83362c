package actorstest_test

import (
	"testing"

	"example.com/life/actors/actorstest"
	"example.com/life/actors/storage"
)

func TestBlobsInMemory(t *testing.T) {
	actorstest.TestBlobs(t, func(*testing.T) storage.Blobs { return actorstest.NewBlobs() })
}
