package hashline_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"example.com/life/adapters/tools/hashline"
)

// model is a file as a plain list of lines with their ends: what the engine is held to.
type model struct {
	mark  string
	lines []string // with their ends
}

func modelOf(content string) model {
	m := model{}
	if rest, marked := strings.CutPrefix(content, "\xef\xbb\xbf"); marked {
		m.mark, content = "\xef\xbb\xbf", rest
	}
	if content != "" {
		m.lines = strings.SplitAfter(content, "\n")
		if m.lines[len(m.lines)-1] == "" {
			m.lines = m.lines[:len(m.lines)-1]
		}
	}
	return m
}

func cut(whole string) (text, end string) {
	text = strings.TrimSuffix(whole, "\n")
	if text != whole {
		text = strings.TrimSuffix(text, "\r")
	}
	return text, whole[len(text):]
}

func (m model) usual() string {
	crlf := 0
	lf := 0
	for _, l := range m.lines {
		switch _, end := cut(l); end {
		case "\r\n":
			crlf++
		case "\n":
			lf++
		}
	}
	if crlf > lf {
		return "\r\n"
	}
	return "\n"
}

// apply makes the edits one after another, from the end of the file to its beginning.
func (m model) apply(edits []hashline.Edit) string {
	usual := m.usual()
	open := len(m.lines) > 0 && !strings.HasSuffix(m.lines[len(m.lines)-1], "\n")
	out := slices.Clone(m.lines)
	type at struct{ first, last, number int }
	var order []at
	for i, e := range edits {
		switch e.Op {
		case hashline.Prepend:
			order = append(order, at{0, 0, i})
		case hashline.Append:
			order = append(order, at{len(out), len(out), i})
		case hashline.InsertBefore:
			order = append(order, at{e.At.Number - 1, e.At.Number - 1, i})
		case hashline.InsertAfter:
			order = append(order, at{e.At.Number, e.At.Number, i})
		default:
			last := e.At.Number
			if e.End != nil {
				last = e.End.Number
			}
			order = append(order, at{e.At.Number - 1, last, i})
		}
	}
	slices.SortStableFunc(order, func(a, b at) int {
		if a.first != b.first {
			return a.first - b.first
		}
		return a.last - b.last
	})
	stays := open // the file goes on without an end
	for i := len(order) - 1; i >= 0; i-- {
		o, e := order[i], edits[order[i].number]
		var made []string
		for k, text := range e.Lines {
			end := usual
			if o.first+k < o.last {
				if _, old := cut(m.lines[o.first+k]); old != "" {
					end = old
				}
			}
			made = append(made, text+end)
		}
		out = slices.Concat(out[:o.first], made, out[o.last:])
	}
	// Which edit is at the end decides whether the file keeps its open end.
	if len(order) > 0 {
		o := order[len(order)-1]
		e := edits[o.number]
		switch {
		case o.last == len(m.lines) && len(e.Lines) > 0:
			stays = open && !e.Closed
		case o.last == len(m.lines) && o.first < o.last: // the last line was deleted
			stays = false
			for i := len(order) - 2; i >= 0; i-- {
				if p := order[i]; p.last == len(m.lines) && len(edits[p.number].Lines) > 0 {
					stays = open && !edits[p.number].Closed
					break
				}
			}
		}
	}
	for i := range out {
		text, end := cut(out[i])
		if end == "" && i < len(out)-1 {
			out[i] = text + usual
		}
		if i == len(out)-1 && stays {
			out[i] = text
		}
	}
	return m.mark + strings.Join(out, "")
}

func (m model) anchor(n int) hashline.Anchor {
	text, _ := cut(m.lines[n-1])
	return hashline.Anchor{Number: n, Tag: hashline.Tag([]byte(text))}
}

// texts are contents of lines: few, so that many are equal, and some that look like something else.
var texts = []string{"", "}", "\t}", "a", "b", "return nil", "x := 1", "é\u2028z", "with \r inside", "# heading", "end"}

func randomContent(r *rand.Rand) string {
	kind := r.IntN(7)
	var b strings.Builder
	if r.IntN(4) == 0 {
		b.WriteString("\xef\xbb\xbf")
	}
	size := r.IntN(30)
	switch kind {
	case 0:
		size = 0
	case 1:
		size = 1
	}
	for i := range size {
		b.WriteString(texts[r.IntN(len(texts))])
		if r.IntN(3) == 0 {
			fmt.Fprintf(&b, "%d", r.IntN(50))
		}
		switch {
		case i == size-1 && r.IntN(2) == 0:
		case kind == 2, kind == 3 && r.IntN(2) == 0:
			b.WriteString("\r\n")
		default:
			b.WriteString("\n")
		}
	}
	return b.String()
}

// randomEdits are edits that do not touch each other's lines.
func randomEdits(r *rand.Rand, m model) (edits []hashline.Edit) {
	text := func(e *hashline.Edit) {
		for range 1 + r.IntN(3) {
			e.Lines = append(e.Lines, texts[r.IntN(len(texts))])
		}
		e.Closed = r.IntN(2) == 0
	}
	for n := 1 + r.IntN(4); n <= len(m.lines); n += 1 + r.IntN(5) {
		e := hashline.Edit{At: m.anchor(n), Op: hashline.Ops()[r.IntN(4)]}
		if e.Op == hashline.Replace || e.Op == hashline.Delete {
			if last := min(n+r.IntN(3), len(m.lines)); last > n || r.IntN(2) == 0 {
				end := m.anchor(last)
				e.End, n = &end, last
			}
		}
		if e.Op != hashline.Delete {
			text(&e)
		}
		edits = append(edits, e)
	}
	for _, op := range []hashline.Op{hashline.Append, hashline.Prepend} {
		if r.IntN(4) == 0 || len(m.lines) == 0 {
			e := hashline.Edit{Op: op}
			text(&e)
			edits = append(edits, e)
		}
	}
	r.Shuffle(len(edits), func(i, j int) { edits[i], edits[j] = edits[j], edits[i] })
	return edits
}

// TestEditsAreThoseOfTheModel makes 10,000 random batches on random files.
func TestEditsAreThoseOfTheModel(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for n := range 10_000 {
		content := randomContent(r)
		m := modelOf(content)
		file := hashline.Parse([]byte(content))
		if got := string(file.Bytes()); got != content || file.Len() != len(m.lines) {
			t.Fatalf("%q became %q, %d lines", content, got, file.Len())
		}
		edits := randomEdits(r, m)
		want := m.apply(edits)
		resolved, moves, err := hashline.Resolve(file, nil, edits)
		if err != nil || len(moves) > 0 {
			t.Fatalf("%d: %q %+v: %v, %v", n, content, edits, moves, err)
		}
		result, err := hashline.Apply(file, resolved)
		if errors.Is(err, hashline.ErrNoChange) && want == content {
			continue
		}
		if err != nil || string(result.File.Bytes()) != want {
			t.Fatalf("%d: %q\n%+v: %v\ngives %q\nwant  %q", n, content, edits, err, result.File.Bytes(), want)
		}
		for _, c := range result.Changed {
			for i, text := range edits[c.Edit].Lines {
				if c.First+i <= c.Last && string(result.File.Line(c.First+i)) != text {
					t.Fatalf("%d: edit %d is said to be at line %d, which is %q, not %q", n, c.Edit, c.First+i, result.File.Line(c.First+i), text)
				}
			}
		}
	}
}

// TestDriftIsFollowedOrRefused changes a file behind the back of an edit: the anchor is found on an equal line between equal neighbours, or refused.
func TestDriftIsFollowedOrRefused(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	followed, refused := 0, 0
	for range 10_000 {
		before := modelOf(strings.TrimPrefix(randomContent(r), "\xef\xbb\xbf"))
		if n := len(before.lines); n > 0 {
			before.lines[n-1] = strings.TrimSuffix(before.lines[n-1], "\n") + "\n"
		}
		if len(before.lines) == 0 {
			continue
		}
		// ids follow each line through the change
		type tracked struct {
			id   int
			text string
		}
		var now []tracked
		for i, l := range before.lines {
			now = append(now, tracked{i + 1, l})
		}
		for range 1 + r.IntN(3) {
			at := r.IntN(len(now) + 1)
			switch {
			case r.IntN(2) == 0 || at == len(now):
				now = slices.Insert(now, at, tracked{0, texts[r.IntN(len(texts))] + "\n"})
			default:
				now = slices.Delete(now, at, at+1)
			}
		}
		var content strings.Builder
		for _, l := range now {
			content.WriteString(l.text)
		}
		n := 1 + r.IntN(len(before.lines))
		edits := []hashline.Edit{{Op: hashline.Replace, At: before.anchor(n), Lines: []string{"new"}}}
		shown, current := hashline.Parse([]byte(strings.Join(before.lines, ""))), hashline.Parse([]byte(content.String()))
		resolved, _, err := hashline.Resolve(current, shown, edits)
		var conflict *hashline.ConflictError
		switch {
		case errors.As(err, &conflict):
			refused++
			continue
		case err != nil:
			t.Fatal(err)
		}
		followed++
		to := resolved[0].At.Number
		equal := func(old, now int) bool {
			if old < 1 || old > shown.Len() {
				return true
			}
			return now >= 1 && now <= current.Len() && bytes.Equal(shown.Line(old), current.Line(now))
		}
		if !equal(n, to) || !equal(n-1, to-1) || !equal(n+1, to+1) {
			t.Fatalf("%q\n%q: line %d was taken for line %d", shown.Bytes(), current.Bytes(), n, to)
		}
		unique := true
		for i := 1; i <= shown.Len(); i++ {
			unique = unique && (i == n || !bytes.Equal(shown.Line(i), shown.Line(n)))
		}
		for i := range now {
			unique = unique && (now[i].id == n || !bytes.Equal(current.Line(i+1), shown.Line(n)))
		}
		if unique && now[to-1].id != n {
			t.Fatalf("%q\n%q: line %d was taken for line %d, which is another", shown.Bytes(), current.Bytes(), n, to)
		}
	}
	if followed < 3000 || refused < 500 {
		t.Errorf("%d were followed and %d refused", followed, refused)
	}
}

// TestShiftIsFollowed: lines that somebody put at the top move every anchor.
func TestShiftIsFollowed(t *testing.T) {
	content := "package a\n\nfunc one() {\n\treturn\n}\n\nfunc two() {\n\treturn\n}\n"
	shown := modelOf(content)
	for k := 1; k < 50; k++ {
		now := hashline.Parse([]byte(strings.Repeat("// new\n", k) + content))
		end := shown.anchor(9)
		resolved, moves, err := hashline.Resolve(now, hashline.Parse([]byte(content)), []hashline.Edit{
			{Op: hashline.Replace, At: shown.anchor(4), Lines: []string{"\tone"}},
			{Op: hashline.Delete, At: shown.anchor(7), End: &end},
		})
		if err != nil || resolved[0].At.Number != 4+k || resolved[1].End.Number != 9+k || len(moves) != 3 {
			t.Fatalf("%d: %+v %v %v", k, resolved, moves, err)
		}
	}
}

// collision returns two texts with one tag.
func collision(t *testing.T) (a, b string) {
	t.Helper()
	found := map[string]string{}
	for i := range 10_000 {
		text := fmt.Sprintf("line %d", i)
		tag := hashline.Tag([]byte(text))
		if other, ok := found[tag]; ok {
			return other, text
		}
		found[tag] = text
	}
	t.Fatal("no collision")
	return "", ""
}

// TestCollisionsNeverMisapply: in place of the line that was shown there is another one with the same tag.
func TestCollisionsNeverMisapply(t *testing.T) {
	a, b := collision(t)
	for _, now := range []string{"x\n" + b + "\ny\n", b + "\n", "x\ny\n" + b + "\n", "new\nx\n" + b + "\ny\n"} {
		shown := modelOf("x\n" + a + "\ny\n")
		_, _, err := hashline.Resolve(hashline.Parse([]byte(now)), hashline.Parse([]byte("x\n"+a+"\ny\n")), []hashline.Edit{
			{Op: hashline.Replace, At: shown.anchor(2), Lines: []string{"z"}},
		})
		var conflict *hashline.ConflictError
		if !errors.As(err, &conflict) {
			t.Errorf("%q: %v", now, err)
		}
	}
}

// TestEqualLinesAreToldApart by what is around them, or not at all.
func TestEqualLinesAreToldApart(t *testing.T) {
	const content = "A\n}\nB\n}\nC\n}\n"
	shown, before := modelOf(content), hashline.Parse([]byte(content))
	for _, c := range []struct {
		now  string
		line int
		want int // 0: refused
	}{
		{"new\n" + content, 4, 5},
		{"B\n}\nC\n}\n", 4, 2},
		{"A\n}\nC\n}\n", 2, 0},
		{"A\n}\nC\n}\n", 4, 0},
		{"A\n}\n}\nC\n}\n", 4, 0},
		{"A\n}\nB\n}\n}\nC\n}\n", 4, 0},
		{"A\n}\nB\n}\nC\n}\n}\n", 4, 4},
		{"}\n", 4, 0},
		{"", 4, 0},
	} {
		resolved, _, err := hashline.Resolve(hashline.Parse([]byte(c.now)), before, []hashline.Edit{{Op: hashline.Delete, At: shown.anchor(c.line)}})
		got := 0
		if err == nil {
			got = resolved[0].At.Number
		}
		if got != c.want {
			t.Errorf("%q: line %d was found at %d (%v), want %d", c.now, c.line, got, err, c.want)
		}
	}
}

func TestWhatIsRefused(t *testing.T) {
	const content = "one\ntwo\nthree\n"
	m, file := modelOf(content), hashline.Parse([]byte(content))
	at := func(n int) hashline.Anchor { return m.anchor(n) }
	end := func(n int) *hashline.Anchor { a := m.anchor(n); return &a }
	for want, edits := range map[string][]hashline.Edit{
		"edits[0]: replace needs a text": {{Op: hashline.Replace, At: at(1)}},
		"edits[0]: delete takes no text": {{Op: hashline.Delete, At: at(1), Lines: []string{"x"}}},
		"no operation":                   {{Op: "swap", At: at(1)}},
		"takes no end":                   {{Op: hashline.InsertAfter, At: at(1), End: end(2), Lines: []string{"x"}}},
		"is before at":                   {{Op: hashline.Delete, At: at(3), End: end(2)}},
		"edits[1]: it is about lines that edits[0] is about too": {{Op: hashline.Delete, At: at(1), End: end(2)}, {Op: hashline.Replace, At: at(2), Lines: []string{"x"}}},
		"is about too":                          {{Op: hashline.Delete, At: at(1), End: end(3)}, {Op: hashline.InsertBefore, At: at(2), Lines: []string{"x"}}},
		"anchor_in_text: the text has":          {{Op: hashline.Replace, At: at(1), Lines: []string{"ok", "2:9f3e|x"}}},
		"anchor_in_text: every line":            {{Op: hashline.Replace, At: at(1), Lines: []string{"-one", "+two"}}},
		"holds a line end":                      {{Op: hashline.Replace, At: at(1), Lines: []string{"a\nb"}}},
		"no_change":                             {{Op: hashline.Replace, At: at(1), Lines: []string{"one"}}},
		"edit_conflict: 1 anchors name no line": {{Op: hashline.Delete, At: hashline.Anchor{Number: 9, Tag: "0000"}}},
	} {
		resolved, _, err := hashline.Resolve(file, nil, edits)
		if err == nil {
			_, err = hashline.Apply(file, resolved)
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", edits, err, want)
		}
	}
	resolved, _, err := hashline.Resolve(file, nil, []hashline.Edit{{Op: hashline.Replace, At: at(2), Lines: []string{"one", "2", "three"}}})
	if err != nil {
		t.Fatal(err)
	}
	if result, err := hashline.Apply(file, resolved); err != nil || len(result.Warnings) != 2 {
		t.Errorf("%+v, %v", result, err)
	}
}

func TestParseAnchor(t *testing.T) {
	for _, text := range []string{"12:9f3e", " 12:9F3E ", "12:9f3e|func x() {", "12:9f3e~|long"} {
		if a, err := hashline.ParseAnchor(text); err != nil || a != (hashline.Anchor{Number: 12, Tag: "9f3e"}) {
			t.Errorf("%q: %v, %v", text, a, err)
		}
	}
	for _, text := range []string{"", "12", "12:", "12:9f3", "12:9f3e2", "12:9f3g", "0:9f3e", "-1:9f3e", "9999999999:9f3e", "12:9f3e x"} {
		if a, err := hashline.ParseAnchor(text); err == nil {
			t.Errorf("%q: %v", text, a)
		}
	}
}

// large is a file of 100,000 lines, 6 MB.
func large() ([]byte, model) {
	var b bytes.Buffer
	for i := range 100_000 {
		switch i % 5 {
		case 3:
			b.WriteString("\treturn nil\n")
		case 4:
			b.WriteString("}\n")
		default:
			fmt.Fprintf(&b, "%d this is one line of a large file, as there are many in it, and it is as long as they are %d\n", i, i%7)
		}
	}
	return b.Bytes(), modelOf(b.String())
}

func TestLargeFilesAreRelocated(t *testing.T) {
	content, m := large()
	changed := slices.Clone(m.lines)
	for i := range 1000 {
		changed[i*90] = fmt.Sprintf("changed %d\n", i)
	}
	changed = slices.Insert(changed, 0, "new\n")
	resolved, _, err := hashline.Resolve(hashline.Parse([]byte(strings.Join(changed, ""))), hashline.Parse(content), []hashline.Edit{{Op: hashline.Delete, At: m.anchor(50_000)}})
	if err != nil || resolved[0].At.Number != 50_001 {
		t.Errorf("%+v, %v", resolved, err)
	}
}
