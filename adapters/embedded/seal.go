package embedded

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"path/filepath"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"example.com/life/actors/storage"
)

// sealName is the file beside a directory of snapshots that says what its manifest was when it was closed.
const sealName = "LIFE_SNAPSHOTS"

// A manifest whose end is damaged looks like one whose last write a crash cut off: Pebble goes on with what is before it. The journal
// notices, because it knows where it ended. Snapshots have no such end; with tables that an older manifest does not know the same
// keys come twice, and Pebble panics in the background. So a directory that was closed in order is sealed, and one that does not
// fit its seal is dropped.

// seal notes the manifest of a closed database. Without a seal, as after a crash, it is taken as it is.
func seal(disk vfs.FS, dir string) error {
	text, err := manifestText(disk, dir)
	if err != nil {
		return err
	}
	return writeSmall(disk, filepath.Dir(dir), sealName, text)
}

// breakSeal verifies the seal of a database that is about to be opened, and removes it: from now on its manifest grows.
func breakSeal(disk vfs.FS, dir string) error {
	path := filepath.Join(filepath.Dir(dir), sealName)
	sealed, err := readSmall(disk, path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the seal of the snapshots: %w", err)
	}
	text, err := manifestText(disk, dir)
	if err := disk.Remove(path); err != nil {
		return fmt.Errorf("remove the seal of the snapshots: %w", err)
	}
	if err != nil || text != sealed {
		return errors.Join(fmt.Errorf("%w: the manifest of %s is %q, it was %q when it was closed", storage.ErrCorrupt, dir, text, sealed), err)
	}
	return nil
}

// manifestText is the name, the size and the checksum of a database's manifest.
func manifestText(disk vfs.FS, dir string) (string, error) {
	found, err := pebble.Peek(dir, disk)
	if err != nil || !found.Exists {
		return "", fmt.Errorf("find the manifest of %s: %w", dir, errors.Join(err, errMissing(found)))
	}
	f, err := disk.Open(found.ManifestFilename)
	if err != nil {
		return "", fmt.Errorf("read the manifest of %s: %w", dir, err)
	}
	sum := crc32.NewIEEE()
	size, err := io.Copy(sum, f)
	if err = errors.Join(err, f.Close()); err != nil {
		return "", fmt.Errorf("read the manifest of %s: %w", dir, err)
	}
	return fmt.Sprintf("%s %d %08x\n", filepath.Base(found.ManifestFilename), size, sum.Sum32()), nil
}

func errMissing(found *pebble.DBDesc) error {
	if found != nil && found.Exists {
		return nil
	}
	return errors.New("there is no database")
}
