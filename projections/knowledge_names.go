package projections

import (
	"cmp"
	"path"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"example.com/life/events"
)

// Names are compared in three ways, the strictest first: as they are written, without regard to case, and by their letters and digits
// alone. A note is entered under all three forms of each of its names, and a name leads to the best claim under the first of its own
// forms that any note has. So [[Foo (2020)]] leads to "Foo (2020)" also if there is a "Foo 2020", and to that if it is the only one.

// claim is a note's right to a form of a name: of its id before its title, of that before an alias, and last of an end of its id.
type claim struct {
	*node
	form int8 // how strictly the form is the name: 0 as it is written
	rank int8
}

// The ranks of claims.
const (
	rankID int8 = iota
	rankTitle
	rankAlias
	rankEnd
)

func compareClaims(a, b claim) int {
	return cmp.Or(cmp.Compare(a.form, b.form), cmp.Compare(a.rank, b.rank), compareNodes(a.node, b.node))
}

// equal reports whether two claims are equally good.
func (c claim) equal(other claim) bool { return c.form == other.form && c.rank == other.rank }

// eachName hands the names that a note can be found by to a function. Every end of its id that consists of whole parts is one.
func (n *node) eachName(name func(name string, rank int8)) {
	id := string(n.id)
	name(id, rankID)
	name(n.title, rankTitle)
	for _, alias := range n.aliases {
		name(alias, rankAlias)
	}
	for at := strings.IndexByte(id, '/'); at >= 0; at = strings.IndexByte(id, '/') {
		id = id[at+1:]
		name(id, rankEnd)
	}
}

// claims lists the forms of a note's names, each with its best claim, in no order that matters.
func (n *node) claims() map[string]claim {
	all := map[string]claim{}
	n.eachName(func(name string, rank int8) {
		for form, text := range nameForms(name) {
			mine := claim{n, int8(form), rank}
			if best, there := all[text]; !there || compareClaims(mine, best) < 0 {
				all[text] = mine
			}
		}
	})
	return all
}

// keys lists what links to a note may have as the key of their target.
func (n *node) keys() []string {
	var all []string
	n.eachName(func(name string, _ int8) {
		if key := nameKey(name); !slices.Contains(all, key) {
			all = append(all, key)
		}
	})
	return all
}

// named returns the claims to a name, the best first.
func (g *graph) named(name string) []claim {
	if found := g.names[norm.NFC.String(name)]; len(found) > 0 {
		return found
	}
	plain, _ := events.CutMarkdown(name)
	for _, form := range nameForms(plain) {
		if found := g.names[form]; len(found) > 0 {
			return found
		}
	}
	return nil
}

// resolve returns the note that bears a name, or nil.
func (g *graph) resolve(name string) *node {
	if claims := g.named(name); len(claims) > 0 {
		return claims[0].node
	}
	return nil
}

// mostClaims is how many claims to a name are looked at.
const mostClaims = 64

// bearers returns the claims to the name of a link, and which of them is the best. Of those that bear it equally strictly, a note of the
// same collection goes before all others, whatever the rank of its claim.
func (g *graph) bearers(from *node, name string) (claims []claim, best int) {
	claims = g.named(name)
	claims = claims[:min(len(claims), mostClaims)]
	if from.source.Collection == "" {
		return claims, 0
	}
	for i, c := range claims {
		if c.form == claims[0].form && c.source.Collection == from.source.Collection {
			return claims, i
		}
	}
	return claims, 0
}

// lead returns the note to which a link of a note leads, or nil.
func (g *graph) lead(from *node, l *link) *node {
	if claims, best := g.bearers(from, l.name); len(claims) > 0 {
		return claims[best].node
	}
	return nil
}

// find returns the note that somebody asks for: by its id, or by another name of it.
func (g *graph) find(name string) *node {
	if n := g.nodes[events.NoteID(name)]; n != nil {
		return n
	}
	return g.resolve(placed("", name))
}

// placed is a target as the note with this id means it: one that begins with dots is seen from where the note is.
func placed(id events.NoteID, target string) string {
	switch {
	case strings.HasPrefix(target, "./") || strings.HasPrefix(target, "../"):
		target = path.Join("/", path.Dir(string(id)), target)
	case !strings.HasPrefix(target, "/"):
		return target
	}
	return cmp.Or(strings.Trim(target, "/"), target)
}

// nameForms are the three forms of a name.
func nameForms(name string) [3]string {
	composed := norm.NFC.String(name)
	return [3]string{composed, strings.ToLower(composed), nameKey(composed)}
}

// nameKey is the last form of a name: its letters and digits in lower case, with one dash for whatever stands between, and the
// slashes of paths.
func nameKey(name string) string {
	name, _ = events.CutMarkdown(norm.NFKC.String(name))
	var key strings.Builder
	between := false
	for _, r := range name {
		switch {
		case r == '/' || r == '+' || unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r):
			if between && key.Len() > 0 && r != '/' && !strings.HasSuffix(key.String(), "/") {
				key.WriteByte('-')
			}
			between = false
			key.WriteRune(unicode.ToLower(r))
		default:
			between = true
		}
	}
	if key.Len() == 0 {
		return name // of nothing but signs, it is what it is
	}
	return key.String()
}

// tagKeys are the keys of a tag and of those that it is nested in: project/alpha is a project too.
func tagKeys(tag string) []string {
	key := nameKey(tag)
	all := []string{key}
	for at := strings.LastIndexByte(key, '/'); at > 0; at = strings.LastIndexByte(key[:at], '/') {
		all = append(all, key[:at])
	}
	return all
}

// toFile reports whether a link leads to a file that is no note: one that lay beside the note, or whose ending says so.
func (l *link) toFile() bool {
	at := strings.LastIndexByte(l.target, '.')
	return l.file || at >= 0 && fileEndings[strings.ToLower(l.target[at+1:])]
}

// fileEndings are those of files that notes embed or refer to.
//
//nolint:gochecknoglobals // an explicit list, never written to
var fileEndings = setOf("png jpg jpeg jfif gif bmp svg webp avif heic heif tif tiff ico psd eps drawio excalidraw " +
	"mp3 wav m4a ogg oga opus flac aac 3gp mid midi mp4 m4v mov mkv webm ogv avi mpg mpeg " +
	"pdf canvas base epub mobi djvu tex bib doc docx xls xlsx ppt pptx odt ods odp rtf txt csv tsv " +
	"json yaml yml toml xml html htm css ipynb eml ics vcf zip 7z rar gz tgz tar bz2 xz stl step stp obj dxf dwg gpx kml geojson sqlite db")
