package stores

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/google/uuid"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

// CopyStream says in a store behind the EventStoreDB protocol what is being copied into it. It is no part of what is copied. (A data directory has a
// file for that, see adapters/embedded/importing.go.)
const CopyStream events.Stream = "life-copy"

const (
	copyBegun    events.Kind = "copy.begun"
	copyFinished events.Kind = "copy.finished"
)

type copying struct {
	Finish string `json:"finish"` // the command that was under way
}

// HalfCopied returns the command that finishes the copy which was cut off; empty: none was.
func HalfCopied(ctx context.Context, journal storage.Journal) (finish string, err error) {
	page, err := journal.Read(ctx, CopyStream, storage.Latest, storage.Backward, storage.Limit{Events: 1})
	if err != nil {
		return "", fmt.Errorf("read whether a copy into the store is finished: %w", err)
	}
	if len(page.Events) == 0 || page.Events[0].Kind != copyBegun {
		return "", nil
	}
	var said copying
	if json.Unmarshal(page.Events[0].Data, &said) != nil || said.Finish == "" {
		said.Finish = "life store copy FROM TO"
	}
	return said.Finish, nil
}

// NoteCopy records that a copy into the store begins, which the command finish finishes; or, if that is empty, that it is finished.
func NoteCopy(ctx context.Context, journal storage.Journal, finish string) error {
	kind := copyBegun
	if finish == "" {
		kind = copyFinished
	}
	data, err := json.Marshal(copying{Finish: finish})
	if err != nil {
		return err
	}
	e := events.Envelope{ID: uuid.New(), Kind: kind, Data: data}
	e.SetMetadata([]byte(`{}`))
	e.Time = storage.Now()
	if _, err := journal.Append(ctx, CopyStream, storage.ExpectAny, []events.Envelope{e}); err != nil {
		return fmt.Errorf("record that a copy into the store begins or ends: %w", err)
	}
	return nil
}
