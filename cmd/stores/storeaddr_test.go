package stores

import "testing"

// TestMasked: a password in an address is not shown, however it is written.
func TestMasked(t *testing.T) {
	for address, want := range map[string]string{
		"esdb://127.0.0.1:2113?tls=false":    "esdb://127.0.0.1:2113?tls=false",
		"esdb://ada:secret@h:2113":           "esdb://ada:***@h:2113",
		"esdb://ada@h":                       "esdb://ada@h",
		"esdb+discover://ada:se/cr@et@h?a=b": "esdb+discover://ada:***@h?a=b",
		"esdb://ada:secret?x@h":              "esdb://ada:***@h",
		"http://ada:secret@h":                "http://ada:***@h",
		"ada:secret@h":                       "ada:***@h",
	} {
		if got := Masked(address); got != want {
			t.Errorf("%s is shown as %s, want %s", address, got, want)
		}
	}
}
