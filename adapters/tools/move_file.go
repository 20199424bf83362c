package tools

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"example.com/life/actors"
	"example.com/life/events"
)

type deleteFileArgs struct {
	Path    string `json:"path" min:"1" jsonschema:"the file, relative to the workspace"`
	FileTag string `json:"file_tag,omitempty" jsonschema:"delete it only if it is still this version: the eight digits after # that were shown last"`
}

// newDeleteFile makes a tool that is not repeatable: what is there the second time may be another file.
func (f files) newDeleteFile() (actors.Tool, error) {
	return newFileTool(f, actors.ToolSpec{Name: "delete_file", Risk: events.RiskMedium}, deleteFile)
}

func deleteFile(ctx context.Context, w *workspace, args deleteFileArgs) (string, error) {
	return w.alone(ctx, func() (string, error) {
		at, err := w.itself(args.Path)
		if err != nil {
			return "", err
		}
		if _, err := w.expect(at.name, at.info, args.FileTag, nil); err != nil {
			return "", err
		}
		dir, err := w.openDir(path.Dir(at.name), path.Base(at.name))
		if err != nil {
			return "", err
		}
		defer dir.Close()
		if err := unix.Unlinkat(int(dir.Fd()), path.Base(at.name), 0); err != nil {
			return "", &fs.PathError{Op: "delete", Path: at.name, Err: err}
		}
		return "deleted " + at.name, dir.Sync()
	})
}

type moveFileArgs struct {
	From    string `json:"from" min:"1" jsonschema:"the file, relative to the workspace"`
	To      string `json:"to" min:"1" jsonschema:"its new path, relative to the workspace"`
	Replace bool   `json:"replace,omitempty" jsonschema:"replace the file that is there"`
	FileTag string `json:"file_tag,omitempty" jsonschema:"move it only if it is still this version: the eight digits after # that were shown last"`
}

func (f files) newMoveFile() (actors.Tool, error) {
	return newFileTool(f, actors.ToolSpec{Name: "move_file", Risk: events.RiskMedium}, moveFile)
}

func moveFile(ctx context.Context, w *workspace, args moveFileArgs) (string, error) {
	return w.alone(ctx, func() (string, error) {
		from, err := w.itself(args.From)
		if err != nil {
			return "", err
		}
		if _, err := w.expect(from.name, from.info, args.FileTag, nil); err != nil {
			return "", err
		}
		to, err := w.resolve(args.To, true)
		switch {
		case err != nil:
			return "", err
		case strings.HasSuffix(args.To, "/"), to.info != nil && to.info.IsDir():
			return "", fmt.Errorf("%s: it is a directory; give the file's new name too", to.name)
		case to.info != nil && !args.Replace:
			return "", fmt.Errorf("%s: there is a file already; set replace to replace it", to.name)
		}
		if dir := path.Dir(to.name); dir != "." {
			if err := w.makeDir(dir); err != nil {
				return "", err
			}
		}
		flags := uint(unix.RENAME_NOREPLACE)
		if args.Replace {
			flags = 0
		}
		return fmt.Sprintf("moved %s to %s", from.name, to.name), w.rename(from.name, to.name, flags)
	})
}

// rename moves a name, durably. It is there before or after: at any instant one of them.
func (w *workspace) rename(from, to string, flags uint) error {
	source, err := w.openDir(path.Dir(from), path.Base(from))
	if err != nil {
		return err
	}
	defer source.Close()
	target, err := w.openDir(path.Dir(to), path.Base(to))
	if err != nil {
		return err
	}
	defer target.Close()
	err = unix.Renameat2(int(source.Fd()), path.Base(from), int(target.Fd()), path.Base(to), flags)
	if errors.Is(err, unix.EXDEV) {
		return fmt.Errorf("%s: it is on another file system than %s; read it, write it there and delete it here", from, to)
	}
	if err != nil {
		return &fs.PathError{Op: "move", Path: to, Err: err}
	}
	return errors.Join(target.Sync(), source.Sync())
}

// itself is the file or link that a path names. Links on the way are followed, one at its end is not.
func (w *workspace) itself(name string) (place, error) {
	parent, err := w.resolve(path.Dir(strings.TrimSuffix(name, "/"))+"/", true)
	if err != nil {
		return place{}, err
	}
	if base := path.Base(name); base == ".." || base == "." || base == "/" || parent.info == nil {
		_, err := w.existing(name)
		return place{}, errors.Join(err, fmt.Errorf("%s: it is a directory, not a file", name))
	}
	at, info, err := w.step(parent.name, path.Base(name))
	switch {
	case err != nil:
		return place{}, err
	case info == nil:
		_, err := w.existing(name)
		return place{}, err
	case info.Mode()&fs.ModeSymlink != 0:
		if _, err := w.resolve(at, true); err != nil {
			return place{}, fmt.Errorf("%s is a symbolic link: %w", at, err)
		}
	default:
		err = errors.Join(regular(at, info), w.within(at, info))
	}
	return place{at, info}, errors.Join(err, w.policy.Check(w.root, at, true), w.policy.Check(w.root, at, false))
}
