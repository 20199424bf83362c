package link

import (
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/google/uuid"

	"example.com/life/actors/storage"
	"example.com/life/adapters/embedded"
	"example.com/life/events"
)

func linkTo(data string) *events.Envelope {
	return &events.Envelope{ID: uuid.New(), Kind: Kind, Version: 1, Data: Data(data), Foreign: &events.Foreign{Base64: true}}
}

func TestFind(t *testing.T) {
	store, err := embedded.Open(embedded.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}()
	ids := []events.EventID{uuid.New(), uuid.New()}
	for _, stream := range []events.Stream{"s", "a@b", "deleted", "ended"} {
		batch := []events.Envelope{{ID: ids[0], Kind: "k", Data: []byte(`{}`)}, {ID: ids[1], Kind: "k", Data: []byte(`{}`)}}
		if _, err := store.Append(t.Context(), stream, storage.ExpectNoStream, batch); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := store.Delete(t.Context(), "deleted", storage.ExpectAny); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Tombstone(t.Context(), "ended", storage.ExpectAny); err != nil {
		t.Fatal(err)
	}
	const none = -1
	for data, want := range map[string]struct {
		isLink bool
		index  int
	}{
		"0@s": {true, 0}, "1@s": {true, 1}, "2@s": {true, none}, "0@missing": {true, none}, "0@a@b": {true, 0}, "-1@s": {true, 1}, " 1 @s": {true, 1},
		"0@deleted": {true, none}, "0@ended": {true, none}, "0@": {true, none}, "0@\x00": {true, none},
		"": {false, none}, "s": {false, none}, "@s": {false, none}, "x@s": {false, none}, "1.0@s": {false, none}, "9223372036854775808@s": {false, none}, "-2@s": {false, none},
	} {
		to, isLink, err := Parse(linkTo(data))
		if err != nil || isLink != want.isLink {
			t.Errorf("%q is a link: %v, %v, want %v", data, isLink, err, want.isLink)
			continue
		}
		if !isLink {
			continue
		}
		found, err := to.Find(t.Context(), store)
		if err != nil || (found == nil) != (want.index == none) || found != nil && found.ID != ids[want.index] {
			t.Errorf("%q leads to %+v, %v", data, found, err)
		}
	}
	if _, isLink, err := Parse(&events.Envelope{Kind: "k", Data: []byte(`"MEBz"`), Foreign: &events.Foreign{Base64: true}}); isLink || err != nil {
		t.Errorf("an event of another type is a link: %v, %v", isLink, err)
	}
	if _, _, err := Parse(&events.Envelope{Kind: Kind, Data: []byte(`"?"`), Foreign: &events.Foreign{Base64: true}}); !errors.Is(err, storage.ErrCorrupt) {
		t.Errorf("what is no base64 is %v", err)
	}
}

// FuzzParse: whatever a link's data are, it is an event like others or says where it leads.
func FuzzParse(f *testing.F) {
	for _, data := range []string{"1@s", "-1@s", " 7 @$$a@b", "@", "9223372036854775808@s", ""} {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data string) {
		e := linkTo(data)
		if written, err := e.Bytes(); err != nil || string(written) != data {
			t.Errorf("a link to %q says %q, %v", data, written, err)
		}
		to, isLink, err := Parse(e)
		if err != nil {
			t.Fatal(err)
		}
		number, name, _ := strings.Cut(data, "@")
		if n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 64); isLink && (err != nil || n != int64(to.Revision) || n < -1 || name != string(to.Stream)) {
			t.Errorf("%q leads to %+v", data, to)
		}
	})
}
