package network

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode/utf8"
)

// site serves what the tests fetch.
func site(t *testing.T) (*httptest.Server, *Policy) {
	t.Helper()
	mux := http.NewServeMux()
	serve := func(path, media, body string) {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "" || r.Header.Get("Cookie") != "" || r.Header.Get("Referer") != "" || r.Method != http.MethodGet {
				t.Errorf("it was asked with %s %v", r.Method, r.Header)
			}
			w.Header().Set("Content-Type", media)
			w.Header().Set("Set-Cookie", "a=b")
			_, _ = w.Write([]byte(body))
		})
	}
	serve("/page", "text/html; charset=iso-8859-1", "<title>Caf\xe9</title><p>one")
	serve("/utf16", "text/html; charset=utf-16le", "<\x00p\x00>\x00a\x00")
	serve("/json", "application/problem+json", `{"a":1}`)
	serve("/image", "image/png", "\x89PNG")
	serve("/bad", "text/html; charset=\"", "x")
	serve("/large", "text/plain", strings.Repeat("x", mostFetched+10))
	redirect := func(path, to string) {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, http.StatusFound) })
	}
	redirect("/stays", "/page")
	redirect("/loops", "/loops")
	redirect("/leaves", "http://169.254.169.254/latest")
	redirect("/file", "file:///etc/passwd")
	redirect("/login", "http://user:secret@127.0.0.1/")
	mux.HandleFunc("/hangs", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	mux.HandleFunc("/none", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no such page", http.StatusNotFound) })
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server, New(rules(t, server.Listener.Addr().String()))
}

func TestFetch(t *testing.T) {
	server, p := site(t)
	for path, want := range map[string]string{
		"/page#part": server.URL + "/page 200 text/html Café\n\none", "/utf16": server.URL + "/utf16 200 text/html a", "/json": server.URL + `/json 200 application/problem+json {"a":1}`,
		"/none": server.URL + "/none 404 text/plain no such page\n", "/stays": server.URL + "/page 200 text/html Café\n\none",
		"/leaves": server.URL + "/leaves 302   next http://169.254.169.254/latest",
		"/image":  "image/png, and only text", "/bad": "content type is malformed", "/loops": "redirects more than 5", "/file": "want http", "/login": "user name or password",
	} {
		page, err := p.Fetch(t.Context(), server.URL+path)
		got := fmt.Sprintf("%s %d %s %s", page.URL, page.Status, page.Type, page.Text)
		if page.Next != "" {
			got += " next " + page.Next
		}
		if err != nil {
			got = err.Error()
		}
		if got != want && (err == nil || !strings.Contains(got, want)) {
			t.Errorf("%s is %q, want %q", path, got, want)
		}
	}
	if page, err := p.Fetch(t.Context(), server.URL+"/large"); err != nil || !page.Cut || len(page.Text) != mostFetched {
		t.Errorf("%v %d", err, len(page.Text))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Fetch(ctx, server.URL+"/hangs"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestFetchRefuses(t *testing.T) {
	server, p := site(t)
	for _, address := range []string{"", "x", "ftp://a.com/", "file:///etc/passwd", "http://", "http:///x", "http://u:p@" + server.Listener.Addr().String() + "/page", "http://[::1", "gopher://a", "http://" + strings.Repeat("a", mostURL)} {
		if _, err := p.Fetch(t.Context(), address); err == nil || !strings.HasPrefix(err.Error(), "url: ") {
			t.Errorf("%q: %v", address, err)
		}
	}
	for _, address := range []string{"http://127.0.0.1:1/", "http://localhost/", "http://169.254.169.254/", "https://example.com/", "http://2130706433/", "http://[::1]:80/"} {
		for _, policy := range []*Policy{p, nil} {
			var refused *RefusedError
			if _, err := policy.Fetch(t.Context(), address); !errors.As(err, &refused) {
				t.Errorf("%q: %v", address, err)
			}
		}
	}
}

func TestPlainText(t *testing.T) {
	for page, want := range map[string]string{
		"<html><head><title>T</title><style>p{}</style></head><body><h1>A &amp; B</h1><p>one <b>two</b>\n three.</p><ul><li>x<li>y</ul>": "T\n\n# A & B\n\none two three.\n\n- x\n- y",
		`see <a href="/x">this</a>, <a href="#y">that</a>, <a href="javascript:z()">other</a>`:                                           "see this (/x), that, other",
		"<pre>a\n  b</pre>c": "a\n  b\n\nc",
		"<script>if (a<b) {}</script>x<svg><svg></svg>y</svg>z": "xz",
		"a<br>b<br/>c": "a\nb\nc",
		"<table><tr><td>1</td><td>2</td></tr><tr><td>3</table>": "1 2\n3",
		`<img alt="a cat">`:    "a cat",
		"</a></pre></script>x": "x",
		"":                     "",
	} {
		if got := plainText(page); got != want {
			t.Errorf("%q is\n%q, want\n%q", page, got, want)
		}
	}
}

func FuzzPlainText(f *testing.F) {
	for _, seed := range []string{"<p>a<a href=x>b</a>", "<pre>\n</pre></pre>", "<svg><svg></svg>", "<li><li>", "<td><td>a", "&lt;&#0;"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, page string) {
		text := plainText(page)
		if len(text) > 8*len(page)+16 || utf8.ValidString(page) && !utf8.ValidString(text) {
			t.Errorf("%d bytes of %q: %q", len(text), page, text)
		}
	})
}
