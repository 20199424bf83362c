package secrets

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"example.com/life/events"
)

// Tokens are put together here, so that nothing that looks like one stands in a file of the project.
const (
	digits = "Zk3vQ9xTb7Rm2LpW8sYd4HfJ6nCa1GeU5oKi0BtV"
	hexes  = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
)

// shapes are credentials, each with what must not be left of it and the rule that is expected to name it.
func shapes() map[string]string {
	return map[string]string{
		"ghp_" + digits[:36]: "github-pat",
		"github_pat_" + digits[:22] + "_" + digits + digits[:19]: "github-fine-grained-pat",
		"glpat-" + digits[:20]:                                            "gitlab-pat",
		"AKIA" + strings.ToUpper(digits[:16]):                             "aws-access-key-id",
		"AKIAIOSFODNN7" + "EXAMPLE":                                       "aws-access-key-id",
		"xoxb-" + "123456789012-123456789012-" + digits[:24]:              "slack-bot-token",
		"sk_live_" + digits[:24]:                                          "stripe-access-token",
		"npm_" + strings.ToLower(digits[:36]):                             "npm-access-token",
		"sk-ant-api03-" + digits + digits + digits[:13] + "AA":            "anthropic-api-key",
		"sk-proj-" + digits[:40]:                                          "api-key",
		"AIza" + digits[:35]:                                              "gcp-api-key",
		"hvs." + digits + digits + digits[:15]:                            "vault-service-token",
		"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0." + digits[:38]: "jwt",
	}
}

const key = "-----BEGIN RSA PRIVATE KEY-----\n" +
	"MIIEowIBAAKCAQEA7bq0vQ9xTb7Rm2LpW8sYd4HfJ6nCa1GeU5oKi0BtVZk3vQ9x\n" +
	"Tb7Rm2LpW8sYd4HfJ6nCa1GeU5oKi0BtVZk3vQ9xTb7Rm2LpW8sYd4HfJ6nCa1Ge\n" +
	"-----END RSA PRIVATE KEY-----"

const password = `pa$s "w0rd" é/+&Zx9`

func masker(t testing.TB) *Masker {
	t.Helper()
	m, err := New([]Known{{Name: "DEPLOY_TOKEN", Value: "d3pl0y-t0ken-31337", Tools: true}, {Name: "store-password", Value: password}, {Name: "SHORT", Value: "abc"}})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestRulesCompile(t *testing.T) {
	set, err := readRules(gitleaksRules, ownRules)
	if err != nil {
		t.Fatal(err)
	}
	words := map[reach]int{}
	for i := range set.rules {
		r := &set.rules[i]
		r.regex()
		r.allowed()
		words[r.reach]++
		if len(r.words) == 0 {
			t.Errorf("rule %s has no keyword: it would never be tried", r.id)
		}
	}
	if len(set.rules) < 220 || words[reach{}] < 90 || words[afterName] < 80 {
		t.Errorf("%d rules, by reach %v", len(set.rules), words)
	}
}

func TestShapesAreMasked(t *testing.T) {
	m := masker(t)
	for secret, rule := range shapes() {
		for _, around := range []string{"%s", "TOKEN=%s\n", "a %s b", `{"token":"%s"}`, "x=%s;y", "(%s)", "`%s`", "日本%s語", "\\\"%s\\n"} {
			text := fmt.Sprintf(around, secret)
			masked, hits := m.Mask(events.MaskShapes, text)
			if strings.Contains(masked, secret) || !strings.Contains(masked, "[masked: ") || len(hits) != 1 {
				if around == "日本%s語" && rule != "github-pat" || around == "(%s)" { // not every rule of gitleaks takes every neighbour
					continue
				}
				t.Errorf("%q is masked as %q (%v)", text, masked, hits)
			} else if hits[0].Rule != rule && around == "TOKEN=%s\n" {
				t.Errorf("%q: %v, want %s", text, hits, rule)
			}
			if known, _ := m.Mask(events.MaskKnown, text); known != text {
				t.Errorf("%q is masked at level known: %q", text, known)
			}
		}
	}
}

func TestOwnShapes(t *testing.T) {
	m := masker(t)
	for text, want := range map[string]string{
		"postgres://app:" + "s3cr3tpw" + "@db.internal:5432/prod": "postgres://app:[masked: url-password]@db.internal:5432/prod",
		"AWS_SECRET_ACCESS_KEY=" + digits:                         "AWS_SECRET_ACCESS_KEY=[masked: aws-secret-access-key]",
		`"aws_secret_access_key": "` + digits + `"`:               `"aws_secret_access_key": "[masked: aws-secret-access-key]"`,
		"Authorization: Bearer " + digits:                         "Authorization: Bearer [masked: authorization-header]",
		"authorization: Basic dXNlcjpwYXNzd29yZA==":               "authorization: Basic [masked: authorization-header]",
		"machine git.example login bob password hunter22\n":       "machine git.example login bob password [masked: netrc-password]\n",
		"//registry.example/:_authToken=" + digits[:20]:           "//registry.example/:_authToken=[masked: npmrc-token]",
		key:       "[masked: private-key]",
		key[:150]: "[masked: private-key]", // cut off
		"id: " + strings.ReplaceAll(key, "\n", "\\n"): "id: [masked: private-key]",
		"postgres://app:${DB_PASSWORD}@db/prod":       "postgres://app:${DB_PASSWORD}@db/prod",
		"https://example.com:8080/a@b":                "https://example.com:8080/a@b",
		"the key: is in the token= of auth":           "the key: is in the token= of auth",
		"-----BEGIN PUBLIC KEY-----\n" + digits:       "-----BEGIN PUBLIC KEY-----\n" + digits,
		"commit " + hexes[:40] + " of " + hexes:       "commit " + hexes[:40] + " of " + hexes,
		"next_page_token: " + digits:                  "next_page_token: " + digits,
	} {
		if masked, _ := m.Mask("", text); masked != want {
			t.Errorf("%q is masked as %q, want %q", text, masked, want)
		}
	}
	if masked, _ := m.Mask(events.MaskStrict, "db_password = "+digits[:20]+"\n"); strings.Contains(masked, digits[:20]) {
		t.Errorf("level strict leaves %q", masked)
	}
}

// TestKnownSecretsInEveryForm: what the host knows is found however common tools write it.
func TestKnownSecretsInEveryForm(t *testing.T) {
	m := masker(t)
	for _, secret := range []string{"d3pl0y-t0ken-31337", password} {
		inJSON, err := json.Marshal(secret)
		if err != nil {
			t.Fatal(err)
		}
		twice, err := json.Marshal(string(inJSON))
		if err != nil {
			t.Fatal(err)
		}
		forms := map[string]string{
			"plain": secret, "json": string(inJSON), "json in json": string(twice), "query": url.QueryEscape(secret), "path": url.PathEscape(secret),
			"hex": hex.EncodeToString([]byte(secret)), "HEX": strings.ToUpper(hex.EncodeToString([]byte(secret))),
			"lines": secret[:7] + "\n" + secret[7:], "crlf": secret[:7] + "\r\n" + secret[7:], "%q": fmt.Sprintf("%+q", secret),
		}
		for i, before := range []string{"", "u", "us", "user:"} {
			for j, after := range []string{"", "\n", "ab"} {
				forms[fmt.Sprint("base64 ", i, j)] = base64.StdEncoding.EncodeToString([]byte(before + secret + after))
				forms[fmt.Sprint("url64 ", i, j)] = base64.URLEncoding.EncodeToString([]byte(before + secret + after))
			}
		}
		long := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", 45) + secret + secret))
		forms["wrapped base64"] = long[:76] + "\n" + long[76:]
		for name, text := range forms {
			masked, hits := m.Mask(events.MaskKnown, "<"+text+">")
			if len(hits) == 0 {
				t.Errorf("%s: %q is left", name, text)
			}
			if again, more := m.Mask(events.MaskKnown, masked); again != masked || len(more) > 0 {
				t.Errorf("%s: %q becomes %q", name, masked, again)
			}
			if strings.Contains(masked, secret[2:10]) {
				t.Errorf("%s: %q is masked as %q", name, text, masked)
			}
		}
	}
	if masked, _ := m.Mask(events.MaskKnown, "abc"); masked != "abc" {
		t.Errorf("a secret of 3 bytes is masked everywhere: %q", masked)
	}
}

// fragment is text with and without secrets, and with what looks like the beginning of one.
func fragment(t *rapid.T) string {
	var all []string
	for secret := range shapes() {
		all = append(all, secret)
	}
	return rapid.OneOf(
		rapid.StringMatching(`[a-z ,."'=:\n]{0,40}`), rapid.String(), rapid.SampledFrom(all), rapid.SampledFrom(all),
		rapid.SampledFrom([]string{
			"d3pl0y-t0ken-31337", password, key, key[:100], "d3pl0y-t0", "-----BEGIN", "ghp_", "eyJ", "://", "[masked: ", "[masked: github-pat]", "key = ", `\n`, "\r\n",
			"Authorization: Bearer " + digits, "x://u:" + digits[:9] + "@h", base64.StdEncoding.EncodeToString([]byte("u:" + password)),
		}),
	).Draw(t, "piece")
}

// TestMaskedTextsHoldNoSecrets: masking again changes nothing, and nothing that is known is left in any form.
func TestMaskedTextsHoldNoSecrets(t *testing.T) {
	m := masker(t)
	rapid.Check(t, func(t *rapid.T) {
		text := strings.Join(rapid.SliceOfN(rapid.Custom(fragment), 0, 8).Draw(t, "text"), rapid.SampledFrom([]string{"", " ", "\n"}).Draw(t, "between"))
		level := rapid.SampledFrom([]events.MaskingLevel{events.MaskKnown, "", events.MaskShapes, events.MaskStrict}).Draw(t, "level")
		masked, hits := m.Mask(level, text)
		if again, more := m.Mask(level, masked); again != masked || len(more) > 0 {
			t.Fatalf("%q is masked as %q, and that as %q (%v)", text, masked, again, more)
		}
		if found := m.spans(level, masked); len(found) > 0 {
			t.Fatalf("%q is masked as %q, in which there is %v", text, masked, found)
		}
		if (masked == text) != (len(hits) == 0) {
			t.Fatalf("%q is masked as %q with hits %v", text, masked, hits)
		}
		if utf8.ValidString(text) && !utf8.ValidString(masked) {
			t.Fatalf("%q is masked as %q", text, masked)
		}
	})
}

// TestStreamsAreMaskedAtEveryBorder: a secret that comes in pieces is masked as one that comes whole.
func TestStreamsAreMaskedAtEveryBorder(t *testing.T) {
	m := masker(t)
	secrets := []string{"d3pl0y-t0ken-31337", password, key, "Authorization: Bearer " + digits, base64.StdEncoding.EncodeToString([]byte("u:" + password))}
	for secret := range shapes() {
		secrets = append(secrets, secret)
	}
	for _, secret := range secrets {
		text := "it is " + secret + " and no more"
		whole, _ := m.Mask("", text)
		for a := range len(text) {
			for b := a; b <= len(text); b += 7 {
				var out bytes.Buffer
				s := m.Stream("", &out, 0, false)
				for _, part := range []string{text[:a], text[a:b], text[b:]} {
					if _, err := s.Write([]byte(part)); err != nil {
						t.Fatal(err)
					}
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				if out.String() != whole {
					t.Fatalf("%q | %q | %q comes as %q, whole as %q", text[:a], text[a:b], text[b:], out.String(), whole)
				}
			}
		}
	}
}

// TestStreamsHoldNoSecrets: neither does what a stream passes on, whatever comes in whatever pieces.
func TestStreamsHoldNoSecrets(t *testing.T) {
	m := masker(t)
	rapid.Check(t, func(t *rapid.T) {
		text := strings.Join(rapid.SliceOfN(rapid.Custom(fragment), 0, 8).Draw(t, "text"), rapid.SampledFrom([]string{" ", "\n"}).Draw(t, "between"))
		var out bytes.Buffer
		s := m.Stream("", &out, rapid.SampledFrom([]int{0, 0, 100}).Draw(t, "least"), false)
		for rest := text; rest != ""; {
			n := rapid.IntRange(1, min(len(rest), 60)).Draw(t, "n")
			if _, err := s.Write([]byte(rest[:n])); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		for _, secret := range []string{"d3pl0y-t0ken-31337", password, base64.StdEncoding.EncodeToString([]byte("u:" + password))[4:]} {
			if strings.Contains(out.String(), secret) {
				t.Fatalf("%q comes as %q", text, out.String())
			}
		}
		for secret := range shapes() {
			whole, _ := m.Mask("", text)
			if strings.Contains(out.String(), secret) && !strings.Contains(whole, secret) {
				t.Fatalf("%q comes as %q, whole as %q", text, out.String(), whole)
			}
		}
	})
}

// TestLongWordsAreNotHeldForEver: memory is bounded, and a secret in a word without end is masked all the same.
func TestLongWordsAreNotHeldForEver(t *testing.T) {
	m := masker(t)
	var out bytes.Buffer
	s := m.Stream("", &out, 0, false)
	secret := "ghp_" + digits[:36]
	line := strings.Repeat("x,", 700) + "\"" + secret + "\"" + strings.Repeat(",y", 300)
	for range 300 {
		if _, err := s.Write([]byte(line)); err != nil {
			t.Fatal(err)
		}
		if len(s.(*Stream).waiting) > mostHeld+len(line) {
			t.Fatalf("%d bytes are held back", len(s.(*Stream).waiting))
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(out.String(), "[masked: github-pat]"); n != 300 || strings.Contains(out.String(), secret[4:]) {
		t.Errorf("%d of 300 are masked", n)
	}
	out.Reset()
	s = m.Stream("", &out, 0, false)
	if _, err := s.Write([]byte(key[:60])); err != nil {
		t.Fatal(err)
	}
	for range 3000 { // a key without an end
		if _, err := s.Write([]byte(digits + digits[:23] + "\n")); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if len(s.(*Stream).waiting) > 0 || strings.Contains(out.String()[:min(out.Len(), 40<<10)], digits) {
		t.Errorf("the key's beginning comes as %q", out.String()[:min(out.Len(), 200)])
	}
}

func TestJSONStaysJSON(t *testing.T) {
	m := masker(t)
	for text, want := range map[string]string{
		`{"a":"x","b":[1,2.50,true,null]}`:                                `{"a":"x","b":[1,2.50,true,null]}`,
		`{"command":"echo ghp_` + digits[:36] + ` > f"}`:                  `{"command":"echo [masked: github-pat] > f"}`,
		`{"command":"echo \u0067hp_` + digits[:36] + ` > f"}`:             `{"command":"echo [masked: github-pat] > f"}`,
		`{"ghp_` + digits[:36] + `":1}`:                                   `{"[masked: github-pat]":1}`,
		`{"t":"` + strings.ReplaceAll(password, `"`, `\"`) + `"}`:         `{"t":"[masked: store-password]"}`,
		`{"aws_secret_access_key":"` + digits + `"}`:                      `{"aws_secret_access_key":"[masked: aws-secret-access-key]"}`,
		`{"k":"` + strings.ReplaceAll(key, "\n", `\n`) + `","z":"after"}`: `{"k":"[masked: private-key]","z":"after"}`,
	} {
		masked, _ := m.MaskJSON("", json.RawMessage(text))
		if string(masked) != want {
			t.Errorf("%s is masked as %s, want %s", text, masked, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		value := map[string]any{}
		for range rapid.IntRange(0, 4).Draw(t, "fields") {
			value[fragment(t)] = []any{fragment(t), rapid.Int().Draw(t, "n"), map[string]any{"in": fragment(t)}}
		}
		raw, err := events.PlainJSON(value)
		if err != nil {
			t.Fatal(err)
		}
		masked, _ := m.MaskJSON("", raw)
		if !json.Valid(masked) {
			t.Fatalf("%s is masked as %s", raw, masked)
		}
		if again, more := m.MaskJSON("", masked); !bytes.Equal(again, masked) || len(more) > 0 {
			t.Fatalf("%s is masked as %s, and that as %s", raw, masked, again)
		}
		if bytes.Contains(masked, []byte("d3pl0y-t0ken-31337")) {
			t.Fatalf("%s is masked as %s", raw, masked)
		}
	})
}

func TestMarked(t *testing.T) {
	m := masker(t)
	for text, want := range map[string][2]bool{ // at level known, at level shapes
		"[masked: DEPLOY_TOKEN]": {true, true}, "[masked: github-pat]": {false, true}, "[masked: nothing]": {false, false}, "masked": {false, false},
	} {
		if got := [2]bool{m.Marked(events.MaskKnown, text), m.Marked(events.MaskShapes, text)}; got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
	if value, found := m.Value("DEPLOY_TOKEN"); !found || value != "d3pl0y-t0ken-31337" {
		t.Errorf("DEPLOY_TOKEN is %q", value)
	}
	if _, found := m.Value("store-password"); found {
		t.Error("a tool is given the store's password")
	}
}

func FuzzMask(f *testing.F) {
	m := masker(f)
	for secret := range shapes() {
		f.Add("a " + secret + " b")
	}
	f.Add(key)
	f.Add("key = [masked: github-pat] " + password)
	f.Fuzz(func(t *testing.T, text string) {
		masked, _ := m.Mask(events.MaskStrict, text)
		if again, hits := m.Mask(events.MaskStrict, masked); again != masked {
			t.Fatalf("%q is masked as %q, and that as %q (%v)", text, masked, again, hits)
		}
		var out bytes.Buffer
		s := m.Stream(events.MaskStrict, &out, 0, false)
		for i := range len(text) {
			if _, err := s.Write([]byte{text[i]}); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if masked == text && strings.Contains(text, "d3pl0y-t0ken-31337") || strings.Contains(out.String(), "d3pl0y-t0ken-31337") {
			t.Fatalf("%q comes as %q", text, out.String())
		}
	})
}

func BenchmarkMask(b *testing.B) {
	m := masker(b)
	prose := strings.Repeat("They keep the keys of the house in a small box; she asked him to read the file a.go and list every function in it.\n", 20)
	source := strings.Repeat("func (s *Store) key(ctx context.Context, token string) (string, error) { return s.api.auth(ctx, \"https://host/a\", token) }\n", 250)
	for name, text := range map[string]string{"200B": prose[:200], "2KB": prose, "30KB of source": source} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				m.Mask("", text)
			}
		})
	}
}
