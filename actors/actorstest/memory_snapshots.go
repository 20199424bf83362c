package actorstest

import (
	"context"
	"slices"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

// Load implements storage.Snapshots.
func (m *Memory) Load(ctx context.Context, fold string, stream events.Stream, until events.Revision) (storage.Snapshot, bool, error) {
	if err := ctx.Err(); err != nil {
		return storage.Snapshot{}, false, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	kept := m.snapshots[snapshotKey{fold, stream}]
	for i := len(kept) - 1; i >= 0; i-- {
		if found := kept[i]; found.Revision <= until {
			found.State = slices.Clone(found.State)
			return found, true, nil
		}
	}
	return storage.Snapshot{}, false, nil
}

// Save implements storage.Snapshots.
func (m *Memory) Save(ctx context.Context, fold string, stream events.Stream, snapshot storage.Snapshot) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	key := snapshotKey{fold, stream}
	var marks []storage.Mark
	for i := range m.snapshots[key] {
		marks = append(marks, m.snapshots[key][i].Mark())
	}
	keep, drop := storage.Retain(marks, snapshot.Mark())
	if !keep {
		return nil
	}
	for other := range m.snapshots {
		if other.stream == stream && storage.Outdated(other.fold, fold) {
			delete(m.snapshots, other)
		}
	}
	kept := slices.DeleteFunc(m.snapshots[key], func(s storage.Snapshot) bool {
		return s.Revision == snapshot.Revision || drop != events.NoRevision && s.Revision == drop
	})
	after := slices.IndexFunc(kept, func(s storage.Snapshot) bool { return s.Revision > snapshot.Revision })
	if after < 0 {
		after = len(kept)
	}
	snapshot.Events, snapshot.State = snapshot.Mark().Events, slices.Clone(snapshot.State)
	m.snapshots[key] = slices.Insert(kept, after, snapshot)
	return nil
}

// Drop implements storage.Snapshots.
func (m *Memory) Drop(ctx context.Context, fold string, stream events.Stream, from events.Revision) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	key := snapshotKey{fold, stream}
	m.snapshots[key] = slices.DeleteFunc(m.snapshots[key], func(s storage.Snapshot) bool { return s.Revision >= from })
	return nil
}
