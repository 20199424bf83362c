package strictjson_test

import (
	"testing"

	"example.com/life/sagas/strictjson"
)

// BenchmarkRead reads a command as it comes over HTTP.
func BenchmarkRead(b *testing.B) {
	body := []byte(`{"agent":"ada","text":"first","hosts":["x","y"],"best":{"name":"z"},"at":"7"}`)
	b.ReportAllocs()
	for b.Loop() {
		var to address
		var read command
		if err := strictjson.Read(body, &to, &read); err != nil {
			b.Fatal(err)
		}
	}
}
