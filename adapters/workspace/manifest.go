package workspace

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"example.com/life/actors/storage"
	"example.com/life/events"
)

// A manifest lists one directory, an entry a line, sorted by the bytes of their names:
//
//	life tree 1
//	d 755 <size> <hash> <name>     a directory, with size and hash of its own manifest
//	f 644 <size> <hash> <name>     a regular file
//	l <name>⇥<target>              a symbolic link
//	x <name>⇥<why>                 something that was there and is not recorded
//
// Names are bytes, as the file system has them; a backslash, a line feed and a tab are written \\, \n and \t. There is one way to
// write each directory, so equal directories have equal manifests, and what is written in another way is refused.

const (
	manifestHead  = "life tree 1\n"
	manifestMedia = "text/x-life-tree"
	contentMedia  = "application/octet-stream"
)

// entry is one line of a manifest.
type entry struct {
	kind byte // one of dfl and x
	name string
	mode uint32
	size int64  // of the content or manifest
	hash string // of the content or manifest
	text string // target of a link, or why it was left out
}

//nolint:gochecknoglobals // constants
var (
	escapes   = strings.NewReplacer(`\`, `\\`, "\n", `\n`, "\t", `\t`)
	unescapes = strings.NewReplacer(`\\`, `\`, `\n`, "\n", `\t`, "\t")
)

// encode writes entries that are sorted by name.
func encode(entries []entry) []byte {
	b := make([]byte, 0, len(manifestHead)+len(entries)*100)
	b = append(b, manifestHead...)
	for i := range entries {
		e := &entries[i]
		b = append(b, e.kind, ' ')
		switch e.kind {
		case 'd', 'f':
			b = strconv.AppendUint(b, uint64(e.mode), 8)
			b = append(b, ' ')
			b = strconv.AppendInt(b, e.size, 10)
			b = append(b, ' ')
			b = append(b, e.hash...)
			b = append(b, ' ')
			b = append(b, escapes.Replace(e.name)...)
		default:
			b = append(b, escapes.Replace(e.name)...)
			b = append(b, '\t')
			b = append(b, escapes.Replace(e.text)...)
		}
		b = append(b, '\n')
	}
	return b
}

// decode reads a manifest. It refuses everything that encode does not write: names that are paths, above all.
func decode(manifest []byte) ([]entry, error) {
	rest, ok := bytes.CutPrefix(manifest, []byte(manifestHead))
	if !ok {
		return nil, fmt.Errorf("%w: it is no manifest that this build knows", storage.ErrCorrupt)
	}
	var entries []entry
	for n := 2; len(rest) > 0; n++ {
		var line []byte
		line, rest, _ = bytes.Cut(rest, []byte{'\n'})
		e, err := decodeLine(string(line))
		if err != nil {
			return nil, fmt.Errorf("%w: line %d of a manifest: %w", storage.ErrCorrupt, n, err)
		}
		if len(entries) > 0 && entries[len(entries)-1].name >= e.name {
			return nil, fmt.Errorf("%w: line %d of a manifest: the names are not in order", storage.ErrCorrupt, n)
		}
		entries = append(entries, e)
	}
	if !bytes.Equal(encode(entries), manifest) {
		return nil, fmt.Errorf("%w: the manifest is not written as it should be", storage.ErrCorrupt)
	}
	return entries, nil
}

func decodeLine(line string) (entry, error) {
	kind, rest, _ := strings.Cut(line, " ")
	e := entry{}
	switch kind {
	case "d", "f":
		fields := strings.SplitN(rest, " ", 4)
		if len(fields) != 4 {
			return e, errors.New("it has too few fields")
		}
		mode, err := strconv.ParseUint(fields[0], 8, 32)
		if err != nil || mode > 0o777 {
			return e, errors.New("the mode is none")
		}
		if e.size, err = strconv.ParseInt(fields[1], 10, 64); err != nil {
			return e, errors.New("the size is no number")
		}
		e.mode, e.hash, e.name = uint32(mode), fields[2], unescapes.Replace(fields[3])
		if err := e.blob().Validate(); err != nil {
			return e, err
		}
	case "l", "x":
		name, text, ok := strings.Cut(rest, "\t")
		if !ok {
			return e, errors.New("it has too few fields")
		}
		e.name, e.text = unescapes.Replace(name), unescapes.Replace(text)
		if strings.ContainsRune(e.text, 0) {
			return e, errors.New("a text holds a NUL")
		}
	default:
		return e, errors.New("the kind of the entry is not known")
	}
	e.kind = kind[0]
	return e, checkName(e.name)
}

// checkName refuses what is not the name of something in a directory.
func checkName(name string) error {
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") || len(name) > maxName {
		return fmt.Errorf("%.100q is not a name of a file", name)
	}
	return nil
}

// blob refers to the content of a file, or to the manifest of a directory.
func (e *entry) blob() events.BlobRef {
	media := contentMedia
	if e.kind == 'd' {
		media = manifestMedia
	}
	return events.BlobRef{Hash: e.hash, Size: e.size, Media: media}
}

// file shows an entry of the directory dir.
func (e *entry) file(dir string) storage.File {
	f := storage.File{Path: join(dir, e.name), Kind: storage.RegularFile, Mode: e.mode, Size: e.size, Hash: e.hash}
	switch e.kind {
	case 'd':
		f.Kind, f.Size, f.Hash = storage.Directory, 0, ""
	case 'l':
		f.Kind, f.Target = storage.Link, e.text
	case 'x':
		f.Kind, f.Why = storage.LeftOut, e.text
	}
	return f
}

func join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}
