package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"example.com/life/actors/storage"
	"example.com/life/cmd/stores"
	"example.com/life/events"
)

// past is a deadline that is over.
var past = time.Unix(1, 0) //nolint:gochecknoglobals // never written to

// ExportTo writes a store from a position on to a file, which is complete or as it was. A device, a pipe or standard output, under whatever name,
// is written to as such; a link stays, and what it points to is written.
func ExportTo(
	ctx context.Context, source storage.Journal, file string, stdout io.Writer, from events.Position, show func(format string, args ...any),
) (count, blobs int64, err error) {
	info, err := os.Stat(file)
	switch {
	case err == nil && isOutput(info, stdout):
		return Export(ctx, source, stdout, from, show)
	case err == nil && info.IsDir():
		err = fmt.Errorf("%s is a directory", file)
	case err == nil && !info.Mode().IsRegular():
		return exportInto(ctx, source, file, from, show)
	case errors.Is(err, fs.ErrNotExist):
		if _, linked := os.Lstat(file); linked == nil {
			err = fmt.Errorf("%s is a link to something that does not exist: name that, or remove the link", file)
			break
		}
		return exportFile(ctx, source, file, 0o600, from, show)
	case err == nil:
		if file, err = filepath.EvalSymlinks(file); err == nil {
			return exportFile(ctx, source, file, info.Mode().Perm(), from, show)
		}
	}
	return 0, 0, fmt.Errorf("write the export: %w", err)
}

// isOutput reports whether a file is what this process writes to as its standard output, such as /dev/stdout.
func isOutput(info fs.FileInfo, stdout io.Writer) bool {
	out, ok := stdout.(*os.File)
	if !ok {
		return false
	}
	its, err := out.Stat()
	return err == nil && os.SameFile(info, its)
}

// exportInto writes to a device or a pipe. A pipe is opened when somebody reads from it.
func exportInto(ctx context.Context, source storage.Journal, name string, from events.Position, show func(format string, args ...any)) (count, blobs int64, err error) {
	type opened struct {
		file *os.File
		err  error
	}
	opening := make(chan opened, 1)
	go func() {
		file, err := os.OpenFile(name, os.O_WRONLY, 0)
		opening <- opened{file, err}
	}()
	select {
	case <-ctx.Done():
		return 0, 0, fmt.Errorf("write the export: wait for a reader of %s: %w", name, ctx.Err())
	case o := <-opening:
		if o.err != nil {
			return 0, 0, fmt.Errorf("write the export: %w", o.err)
		}
		end := context.AfterFunc(ctx, func() { _ = o.file.SetWriteDeadline(past) }) //nolint:errcheck // a reader that does not read holds nobody up, where there are deadlines
		defer end()
		if count, blobs, err = Export(ctx, source, o.file, from, show); err == nil {
			if err = o.file.Sync(); errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) {
				err = nil // there is nothing to sync in a pipe
			}
		}
		if err = errors.Join(err, o.file.Close()); err != nil {
			return count, blobs, fmt.Errorf("write the export: %w", err)
		}
		return count, blobs, nil
	}
}

// exportFile writes beside a file, under a name that nobody has, and puts that in its place.
func exportFile(
	ctx context.Context, source storage.Journal, file string, mode fs.FileMode, from events.Position, show func(format string, args ...any),
) (count, blobs int64, err error) {
	partial, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".partial-*")
	if err != nil {
		return 0, 0, fmt.Errorf("write the export: %w", err)
	}
	count, blobs, err = Export(ctx, source, partial, from, show)
	if err == nil {
		err = errors.Join(partial.Chmod(mode), partial.Sync())
	}
	if err = errors.Join(err, partial.Close()); err == nil {
		err = os.Rename(partial.Name(), file)
	}
	if err != nil {
		return 0, 0, errors.Join(fmt.Errorf("write the export: %w", err), os.Remove(partial.Name()))
	}
	return count, blobs, nil
}

// Export writes a store from a position on, and returns how many events it wrote and how many of them refer to blobs.
func Export(ctx context.Context, source storage.Journal, to io.Writer, from events.Position, show func(format string, args ...any)) (count, blobs int64, err error) {
	w, err := NewLineWriter(to)
	if err != nil {
		return 0, 0, err
	}
	err = stores.Everything(ctx, source, from, func(e *events.Envelope) error {
		if stores.Refers(e) {
			blobs++
		}
		show("%d events written, up to position %d", w.count, e.Position)
		return w.Event(e)
	})
	if err != nil {
		return w.count, blobs, err // and no trailer: what was written is not whole
	}
	return w.count, blobs, w.End()
}
