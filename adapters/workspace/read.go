package workspace

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
)

// How files are read: several at once, because storing one means to wait for the disk, and again when they change meanwhile.
const (
	readers  = 8
	attempts = 3
)

// readChanged reads the files that are not known and stores their contents.
func (c *capture) readChanged(ctx context.Context) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var (
		next  atomic.Int64
		group sync.WaitGroup
		mu    sync.Mutex // for what is missing
	)
	for range min(readers, len(c.changed)) {
		group.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(c.changed) {
					return
				}
				why, err := c.read(ctx, c.changed[i])
				if err != nil {
					stop(fmt.Errorf("read %s: %w", c.changed[i].path, err))
					return
				}
				if why != "" {
					mu.Lock()
					c.left = append(c.left, c.changed[i].path+": "+why)
					mu.Unlock()
				}
			}
		})
	}
	group.Wait()
	return context.Cause(ctx)
}

// read stores the content of one file. What is not right with it is said in a sentence; an error is the store's.
func (c *capture) read(ctx context.Context, n *node) (why string, err error) {
	for range attempts {
		file, err := c.open(n)
		switch {
		case errors.Is(err, fs.ErrPermission):
			n.leave("permission denied")
			return n.text, nil
		case errors.Is(err, errOther), errors.Is(err, fs.ErrNotExist):
			n.gone = true
			return "", nil
		case err != nil:
			return "", err
		}
		whole, err := c.put(ctx, n, file)
		if err := errors.Join(err, file.Close()); err != nil {
			return "", err
		}
		if n.size > c.store.limits.fileBytes {
			n.leave(c.tooLarge())
			return n.text, nil
		}
		if whole {
			return cmp.Or(n.masked, n.text), nil // it has a text if it is left out
		}
	}
	n.stamp = stamp{} // so that it is read again the next time
	return "it changed while it was read, and may be half of what it was and half of what it became", nil
}

// errOther says that there is something else where a file was found.
var errOther = errors.New("it is another file by now")

// open opens a file that was found. To open a pipe would wait for its other end, so opening does not wait; and a link that took the
// file's place may be followed, but only within the workspace, and is noticed.
func (c *capture) open(n *node) (*os.File, error) {
	file, err := c.root.OpenFile(n.path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
			return nil, err
		}
		return nil, errors.Join(errOther, err)
	}
	info, err := file.Stat()
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	if !info.Mode().IsRegular() {
		return nil, errors.Join(errOther, file.Close())
	}
	n.stamp, _ = stampOf(info)
	n.mode = uint32(info.Mode().Perm())
	return file, nil
}

// put stores a file as it reads, with its secrets masked, and reports whether it was the same from the beginning to the end.
func (c *capture) put(ctx context.Context, n *node, file *os.File) (whole bool, err error) {
	n.masked = ""
	source := &counted{source: io.LimitReader(file, c.store.limits.fileBytes+1)}
	content, note, err := c.maskContent(source)
	if err != nil {
		return false, err
	}
	ref, err := c.store.blobs.Put(ctx, contentMedia, content)
	if err != nil {
		return false, fmt.Errorf("store content: %w", err)
	}
	n.size, n.hash = ref.Size, ref.Hash
	info, err := file.Stat()
	if err != nil {
		return false, err
	}
	after, _ := stampOf(info)
	whole = after == n.stamp && source.size == after.size
	masked, text := note()
	switch {
	case masked != "" && text:
		n.masked = masked
	case masked != "" && whole && source.size <= c.store.limits.fileBytes:
		n.leave(masked)
	}
	if source.size > c.store.limits.fileBytes {
		n.size = source.size
	}
	return whole, nil
}

// counted counts what is read.
type counted struct {
	source io.Reader
	size   int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.source.Read(p)
	c.size += int64(n)
	return n, err
}

// sniffed is how much of a file tells whether it is text, in bytes.
const sniffed = 8 << 10

// maskContent masks the secrets in a file. Once it is read, note says which they are and whether the file is text.
func (c *capture) maskContent(source io.Reader) (content io.Reader, note func() (masked string, text bool), err error) {
	none := func() (string, bool) { return "", true }
	if c.store.mask == nil {
		return source, none, nil
	}
	buffered := bufio.NewReaderSize(source, 64<<10)
	start, err := buffered.Peek(sniffed)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, none, err
	}
	text := bytes.IndexByte(start, 0) < 0
	content, hits := c.store.mask(buffered, text)
	return content, func() (string, bool) {
		var rules []string
		for _, hit := range hits() {
			rules = append(rules, hit.Rule)
		}
		switch {
		case len(rules) == 0:
			return "", text
		case text:
			return "its secrets are masked (" + strings.Join(rules, ", ") + ")", text
		}
		return "it is no text and holds a secret (" + strings.Join(rules, ", ") + ")", text
	}, nil
}
