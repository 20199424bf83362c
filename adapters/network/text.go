package network

import (
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"

	"example.com/life/events"
)

// mostLink bounds what is shown of a link, in bytes.
const mostLink = 500

// plainText is what a page of HTML says: its words, with blocks on lines of their own, headings and items marked, and where links lead.
func plainText(page string) string {
	w := writer{}
	tokens := html.NewTokenizer(strings.NewReader(page))
	tokens.SetMaxBuf(mostFetched)
	for {
		switch tokens.Next() {
		case html.ErrorToken:
			return strings.TrimSpace(w.text.String())
		case html.StartTagToken:
			w.start(tokens.Token())
		case html.EndTagToken:
			w.end(tokens.Token().DataAtom)
		case html.SelfClosingTagToken:
			t := tokens.Token()
			w.start(t)
			w.end(t.DataAtom)
		case html.TextToken:
			w.words(string(tokens.Text()), html.UnescapeString)
		case html.CommentToken, html.DoctypeToken:
		}
	}
}

// writer writes text as it is found.
type writer struct {
	text  strings.Builder
	skip  atom.Atom // an element whose content is not shown; 0: none
	deep  int       // elements of its kind within it
	pre   int       // elements in which white space counts
	links []string  // where those that are open lead
	space bool      // a space is due before the next word
	lines int       // ends of lines at the end
}

func hidden(a atom.Atom) bool {
	return a == atom.Script || a == atom.Style || a == atom.Noscript || a == atom.Template || a == atom.Svg
}

// heading is the mark of a heading or item.
func heading(a atom.Atom) string {
	return map[atom.Atom]string{
		atom.H1: "# ", atom.H2: "## ", atom.H3: "### ", atom.H4: "#### ", atom.H5: "##### ", atom.H6: "###### ", atom.Li: "- ",
	}[a]
}

// blank is how many line ends an element stands between.
func blank(a atom.Atom) int {
	switch a { //nolint:exhaustive // the other elements add nothing
	case atom.P, atom.H1, atom.H2, atom.H3, atom.H4, atom.H5, atom.H6, atom.Pre, atom.Table, atom.Ul, atom.Ol, atom.Blockquote, atom.Title:
		return 2
	case atom.Div, atom.Section, atom.Article, atom.Header, atom.Footer, atom.Nav, atom.Main, atom.Aside, atom.Li, atom.Tr, atom.Br, atom.Hr, atom.Dt, atom.Dd, atom.Form, atom.Option, atom.Figure:
		return 1
	}
	return 0
}

func (w *writer) start(t html.Token) {
	if w.skip != 0 {
		if t.DataAtom == w.skip {
			w.deep++
		}
		return
	}
	if hidden(t.DataAtom) {
		w.skip, w.deep = t.DataAtom, 1
		return
	}
	w.newLines(blank(t.DataAtom))
	switch t.DataAtom { //nolint:exhaustive // the other elements add nothing
	case atom.Pre, atom.Textarea:
		w.pre++
	case atom.A:
		w.links = append(w.links, attribute(t, "href"))
	case atom.Img:
		w.words(attribute(t, "alt"), nil)
	case atom.Td, atom.Th:
		w.space = w.lines == 0
	}
	if mark := heading(t.DataAtom); mark != "" {
		w.put(mark)
	}
}

func (w *writer) end(a atom.Atom) {
	if w.skip != 0 {
		if a == w.skip {
			if w.deep--; w.deep == 0 {
				w.skip = 0
			}
		}
		return
	}
	switch a { //nolint:exhaustive // the other elements add nothing
	case atom.Pre, atom.Textarea:
		w.pre = max(0, w.pre-1)
	case atom.A:
		if len(w.links) > 0 {
			link := w.links[len(w.links)-1]
			if w.links = w.links[:len(w.links)-1]; link != "" && !strings.HasPrefix(link, "#") && !strings.HasPrefix(strings.ToLower(link), "javascript:") {
				w.put(" (" + events.Clip(events.VisibleLine(link), mostLink) + ")")
			}
		}
	}
	w.newLines(blank(a))
}

func attribute(t html.Token, name string) string {
	for _, a := range t.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

// words writes text, with its white space where it counts.
func (w *writer) words(text string, unescape func(string) string) {
	if w.skip != 0 {
		return
	}
	if unescape != nil {
		text = unescape(text)
	}
	if w.pre > 0 {
		w.put(text)
		return
	}
	fields := strings.Fields(text)
	if len(fields) == 0 {
		w.space = w.space || text != "" && w.lines == 0
		return
	}
	if strings.TrimLeft(text, " \t\r\n") != text && w.lines == 0 {
		w.space = true
	}
	w.put(strings.Join(fields, " "))
	w.space = strings.TrimRight(text, " \t\r\n") != text
}

func (w *writer) put(text string) {
	if text == "" {
		return
	}
	if w.space && w.text.Len() > 0 {
		w.text.WriteByte(' ')
	}
	w.space, w.lines = false, 0
	w.text.WriteString(text)
}

// newLines ends the line, and has at least so many line ends before what follows.
func (w *writer) newLines(count int) {
	if count > 0 {
		w.space = false
	}
	for ; w.lines < count && w.text.Len() > 0; w.lines++ {
		w.text.WriteByte('\n')
	}
}
