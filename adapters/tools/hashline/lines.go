// Package hashline changes the lines of a file that anchors name: a line's number and a tag of its content, as 12:9f3e. The number is the address, the tag says
// that the line is still the one that was shown. Nothing here reads or writes files.
//
// A batch of edits is about one version of a file, the one that was shown. If the file is another by now, each anchor is looked for where the lines around it
// have gone (see relocate); unless all of them are found beyond doubt, nothing is changed.
package hashline

import (
	"bytes"
	"encoding/hex"

	"github.com/zeebo/blake3"
)

// The lengths of tags, in hexadecimal digits.
const (
	TagSize     = 4
	FileTagSize = 8
)

// mark is the byte order mark of UTF-8, which belongs to no line.
const mark = "\xef\xbb\xbf"

// File is a file's content as lines. They share the content's memory.
type File struct {
	mark  string
	lines []line
}

// line is a line and what ends it.
type line struct {
	text []byte
	end  ending
}

// ending ends a line.
type ending uint8

const (
	open ending = iota // nothing: it is the last one
	lf
	crlf
)

func (e ending) text() string { return [...]string{"", "\n", "\r\n"}[e] }

// Parse splits a content into lines. A line ends at \n alone, with the \r before it; an empty content has none.
func Parse(content []byte) *File {
	f := &File{}
	if bytes.HasPrefix(content, []byte(mark)) {
		f.mark, content = mark, content[len(mark):]
	}
	f.lines = make([]line, 0, bytes.Count(content, []byte("\n"))+1)
	for len(content) > 0 {
		size := bytes.IndexByte(content, '\n') + 1
		if size == 0 {
			size = len(content)
		}
		f.lines = append(f.lines, split(content[:size]))
		content = content[size:]
	}
	return f
}

// split tells a line from its end.
func split(whole []byte) line {
	text := bytes.TrimSuffix(whole, []byte("\n"))
	if len(text) < len(whole) {
		text = bytes.TrimSuffix(text, []byte("\r"))
	}
	return line{text, ending(len(whole) - len(text))}
}

// Len is the number of lines.
func (f *File) Len() int { return len(f.lines) }

// Line is the content of a line, from 1.
func (f *File) Line(number int) []byte { return f.lines[number-1].text }

// Marked reports whether the content begins with a byte order mark.
func (f *File) Marked() bool { return f.mark != "" }

// Ends says how the lines end: lf, crlf or mixed; open reports that the last one has no end.
func (f *File) Ends() (ends string, isOpen bool) {
	ends = "lf"
	switch count := f.count(); {
	case count[lf] > 0 && count[crlf] > 0:
		ends = "mixed"
	case count[crlf] > 0:
		ends = "crlf"
	}
	return ends, len(f.lines) > 0 && f.lines[len(f.lines)-1].end == open
}

func (f *File) count() (count [3]int) {
	for i := range f.lines {
		count[f.lines[i].end]++
	}
	return count
}

// usualEnd is the end that most lines have.
func (f *File) usualEnd() ending {
	if count := f.count(); count[crlf] > count[lf] {
		return crlf
	}
	return lf
}

// Bytes is the content.
func (f *File) Bytes() []byte {
	size := len(f.mark)
	for i := range f.lines {
		size += len(f.lines[i].text) + int(f.lines[i].end)
	}
	content := make([]byte, 0, size)
	content = append(content, f.mark...)
	for i := range f.lines {
		content = append(append(content, f.lines[i].text...), f.lines[i].end.text()...)
	}
	return content
}

// Tag is the tag of a line's content.
func Tag(text []byte) string {
	sum := blake3.Sum256(text)
	return hex.EncodeToString(sum[:TagSize/2])
}

// Digest is what tells a file's content from every other.
type Digest [32]byte

// DigestOf is the digest of a content.
func DigestOf(content []byte) Digest { return blake3.Sum256(content) }

// Tag is the beginning of a digest, as models see it.
func (d Digest) Tag() string { return hex.EncodeToString(d[:FileTagSize/2]) }
