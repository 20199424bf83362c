package notes

import (
	"fmt"
	"net/url"
	"path"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"example.com/life/events"
)

// fileNames are the name that a file gives to its note, and further ones. Logseq has its own ways to write a page's name: three
// underscores for the slash of a namespace, percent signs for what file names cannot hold, and days of the journal as numbers.
func fileNames(at string) (name string, further []string) {
	name, _ = events.CutMarkdown(norm.NFC.String(path.Base(at)))
	page := strings.ReplaceAll(name, "___", "/")
	if unescaped, err := url.PathUnescape(page); err == nil && utf8.ValidString(unescaped) && !strings.ContainsFunc(unescaped, unicode.IsControl) {
		page = unescaped
	}
	if page = strings.Trim(page, "/"); page != name && page != "" {
		name, further = page, append(further, page)
	}
	if day, err := time.Parse("2006_01_02", name); err == nil && path.Base(path.Dir(at)) == "journals" {
		further = append(further, day.Format("Jan ")+ordinal(day.Day())+day.Format(", 2006"))
	}
	return strings.TrimSpace(name), further
}

// ordinal is a day of a month as English has it: 1st, 2nd, 3rd, 4th.
func ordinal(day int) string {
	ending := "th"
	if day/10 != 1 {
		switch day % 10 {
		case 1:
			ending = "st"
		case 2:
			ending = "nd"
		case 3:
			ending = "rd"
		}
	}
	return fmt.Sprint(day, ending)
}
