package tools

import (
	"bytes"
	"fmt"
	"io/fs"
	"strings"
	"unicode/utf8"

	"example.com/life/adapters/tools/hashline"
)

// anchoredLine is how many characters of a line are shown.
const anchoredLine = 2000

// version is a file as edits by anchors see it.
type version struct {
	name    string
	info    fs.FileInfo
	charset charset
	stored  []byte
	file    *hashline.File
	text    []byte // of the file: what is stored, decoded where it has to be
	digest  hashline.Digest
	draft   bool   // it is not in the workspace: its anchors are of no use
	kind    string // its form, once somebody asked: all of the file is looked at for it
}

// version reads a file that is to be shown with anchors, or edited by them.
func (w *workspace) version(name string, info fs.FileInfo) (*version, error) {
	stored, err := w.content(name)
	if err != nil {
		return nil, err
	}
	return versionOf(name, info, stored)
}

// versionOf is a file with its stored bytes, which it keeps.
func versionOf(name string, info fs.FileInfo, stored []byte) (*version, error) {
	v := &version{name: name, info: info, stored: stored, text: stored, charset: charsetOf(stored[:min(len(stored), sniffSize)]), digest: hashline.DigestOf(stored)}
	if v.charset.codec != nil {
		var whole bool
		if v.text, whole = v.charset.decode(stored); !whole {
			return nil, fmt.Errorf("%s: it is %s with errors in it, which writing it would change", name, &v.charset)
		}
	} else if bytes.IndexByte(stored[:min(len(stored), sniffSize)], 0) >= 0 {
		return nil, fmt.Errorf("%s: it is a binary file of %d bytes", name, len(stored))
	}
	v.file = hashline.Parse(v.text)
	return v, nil
}

// head says which version it is, which lines follow, and how it is stored.
func (v *version) head(first, last int) string {
	if v.kind == "" {
		v.kind = v.form()
	}
	return fmt.Sprintf("[%s#%s L%d-%d/%d %s]\n", v.name, v.digest.Tag(), first, last, v.file.Len(), v.kind)
}

// form says how the file is stored: its charset, its line ends, and what is odd at its beginning and end.
func (v *version) form() string {
	ends, open := v.file.Ends()
	kind := "utf8"
	switch {
	case v.charset.codec != nil:
		kind = v.charset.name
	case !utf8.Valid(v.text):
		kind = "bytes"
	}
	form := kind + " " + ends
	if v.file.Marked() || v.charset.codec != nil && v.charset.mark != "" {
		form += " bom"
	}
	if open {
		form += " no-eol"
	}
	return form
}

// line is a line with its anchor. Its secrets are masked; what is too long is cut, and what is not UTF-8 is shown as U+FFFD.
func (v *version) line(number int, masked []byte) string {
	sign, note := "|", ""
	text := strings.ToValidUTF8(string(masked), replacement)
	if len(text) > anchoredLine && utf8.RuneCountInString(text) > anchoredLine {
		runes := []rune(text)
		sign, text, note = "~|", string(runes[:anchoredLine]), fmt.Sprintf("…[+%d chars]", len(runes)-anchoredLine)
	}
	return fmt.Sprintf("%d:%s%s%s%s\n", number, hashline.Tag(v.file.Line(number)), sign, text, note)
}

// maskedContext is how much before a line is looked at for secrets that reach into it, in bytes.
const maskedContext = 64 << 10

// masked returns lines with their secrets masked. Secrets keep the number of their lines.
func (w *workspace) masked(v *version, first, last int) [][]byte {
	var all [][]byte
	if w.secrets == nil {
		for n := first; n <= last; n++ {
			all = append(all, v.file.Line(n))
		}
		return all
	}
	begin := first
	for size := 0; begin > 1 && size < maskedContext; begin-- {
		size += len(v.file.Line(begin-1)) + 1
	}
	var text bytes.Buffer
	for n := begin; n <= last; n++ {
		text.Write(v.file.Line(n))
		text.WriteByte('\n')
	}
	whole := bytes.Split(maskedBytes(text.Bytes(), w.secrets), []byte("\n"))
	for n := first; n <= last; n++ {
		var line []byte
		if n-begin < len(whole) {
			line = whole[n-begin]
		}
		all = append(all, line)
	}
	return all
}

// show is lines with their anchors, as many as there is room for, of which it remembers that they were shown. Lines in marked have a sign before them.
func (w *workspace) show(v *version, first, last, room int, marked map[int]bool) (text string, to int) {
	var out strings.Builder
	to = first - 1
	for i, masked := range w.masked(v, first, last) {
		line := v.line(first+i, masked)
		if marked != nil {
			sign := " "
			if marked[first+i] {
				sign = ">"
			}
			line = sign + line
		}
		if out.Len()+len(line) > room {
			break
		}
		out.WriteString(line)
		to = first + i
	}
	if v.draft {
		return out.String(), to
	}
	w.shown.add(w.agent, w.real+"/"+v.name, v.digest, v.text, [2]int{first, to})
	return out.String(), to
}

// around joins ranges of lines that touch, each with a few lines around it.
func around(ranges [][2]int, lines, size int) (joined [][2]int) {
	for _, r := range ranges {
		from, to := max(1, r[0]-lines), min(size, r[1]+lines)
		if last := len(joined) - 1; last >= 0 && from <= joined[last][1]+1 {
			joined[last][1] = max(joined[last][1], to)
			continue
		}
		joined = append(joined, [2]int{from, to})
	}
	return joined
}
