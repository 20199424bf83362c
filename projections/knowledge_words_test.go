package projections_test

import (
	"slices"
	"strings"
	"testing"

	"golang.org/x/text/unicode/norm"
	"pgregory.net/rapid"

	"example.com/life/events"
	"example.com/life/projections"
)

// TestScriptsWithoutSpaces: words of scripts that put no spaces between them, or endings on them, are found within what is written.
func TestScriptsWithoutSpaces(t *testing.T) {
	h := newTeller(t)
	for id, text := range map[events.NoteID]string{
		"ko": "데이터베이스를 저장합니다. 물은 차갑다.", "ko2": "저녁 메뉴",
		"zh": "我们讨论了内存管理和垃圾回收。水", "zh2": "管理员回家",
		"ja": "東京都でコンピューターを買う。カメラ", "ja2": "京都の寺", "ja3": "ﾃﾚﾋﾞとＡＩ",
		"th": "ฉันชอบกาแฟเย็น", "th2": "ไปตลาด", "lo": "ຂ້ອຍຮັກລາວ", "km": "ខ្ញុំស្រឡាញ់កាហ្វេ", "my": "ကျွန်တော်ကော်ဖီကြိုက်တယ်",
		"en": "The plain words of the others",
	} {
		h.record(events.KnowledgeStream("local"), events.NoteWritten{Note: events.Note{ID: id, Title: "-", Text: events.Text{Inline: text}}, Replaces: events.NoRevision})
	}
	fold := tell(t, h)
	for _, test := range []struct{ ask, want string }{
		{"데이터베이스", "ko"},
		{"저장", "ko"},
		{"저장하는", "ko"},
		{"베이스", "ko"},
		{"물", "ko"},
		{"메뉴", "ko2"},
		{"메뉴가", "ko2"},
		{"우주", ""},
		{"\u1106\u1166\u1102\u1172", "ko2"}, // decomposed
		{"内存", "zh"},
		{"内存管理", "zh"},
		{"垃圾回收", "zh"},
		{"水", "zh"},
		{"管理", "zh zh2"},
		{"什么是垃圾回收机制", "zh"},
		{"火箭", ""},
		{"東京", "ja"},
		{"東京都", "ja"},
		{"京都", "ja ja2"},
		{"コンピューター", "ja"},
		{"コンピュータ", "ja"},
		{"ピューマ", ""},
		{"カメラ", "ja"},
		{"テレビ", "ja3"},
		{"AI", "ja3"},
		{"カ", "ja"},
		{"กาแฟ", "th"},
		{"ตลาด", "th2"},
		{"กาแฟร้อน", "th"},
		{"แมว", ""},
		{"ລາວ", "lo"},
		{"កាហ្វេ", "km"},
		{"ကော်ဖီ", "my"},
		{"plain", "en"},
		{"plain 東京", "en ja"},
	} {
		answer, err := fold.Answer(projections.Query{Name: "search", Parameters: map[string]string{"text": test.ask}})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, n := range answer.(projections.FoundNotes).Notes {
			got = append(got, string(n.Note))
		}
		slices.Sort(got)
		if strings.Join(got, " ") != test.want {
			t.Errorf("%s finds %v, want %s", test.ask, got, test.want)
		}
	}
}

// TestExactNamesLead: whatever other notes are named, and in whatever order they were written, removed and written again, a link with
// a note's id leads to that note, composed or decomposed, with or without an ending.
func TestExactNamesLead(t *testing.T) {
	spec := knowledgeSpec(t)
	rapid.Check(t, func(t *rapid.T) {
		part := rapid.SampledFrom([]string{"a b", "A b", "a-b", "(a) b", "a_b", "\u00e9", "\u00c9", "e", "한글", "!", "a"})
		ids := rapid.SliceOfNDistinct(rapid.Custom(func(t *rapid.T) string {
			return strings.Join(rapid.SliceOfN(part, 1, 3).Draw(t, "parts"), "/")
		}), 1, 12, rapid.ID[string]).Draw(t, "ids")
		h := newTeller(t)
		for _, id := range append(ids, rapid.SliceOf(rapid.SampledFrom(ids)).Draw(t, "again")...) {
			if rapid.IntRange(0, 3).Draw(t, "remove") == 0 {
				h.record(events.KnowledgeStream("local"), events.NoteRemoved{Note: events.NoteID(id), Reason: "old"})
			}
			h.record(events.KnowledgeStream("local"), events.NoteWritten{Note: events.Note{ID: events.NoteID(id), Title: part.Draw(t, "title")}, Replaces: events.NoRevision})
		}
		fold := spec.New()
		for i := range h.all {
			if err := fold.Apply(&projections.Recorded{Envelope: &h.all[i]}); err != nil {
				t.Fatal(err)
			}
		}
		for _, id := range ids {
			for _, name := range []string{id, norm.NFD.String(id), id + ".Markdown"} {
				answer, err := fold.Answer(projections.Query{Name: "note", Parameters: map[string]string{"note": name}})
				if err != nil || string(answer.(projections.NoteAnswer).Note) != id {
					t.Fatalf("%q leads to %v, %v, want %q", name, answer, err, id)
				}
			}
		}
	})
}
