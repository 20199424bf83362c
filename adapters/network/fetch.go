package network

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/net/html/charset"
)

// Bounds of one fetch.
const (
	fetchFor      = 30 * time.Second
	mostFetched   = 5 << 20 // bytes of a body, after decompression
	mostRedirects = 5
	mostURL       = 4096
)

// Page is what was found at a URL.
type Page struct {
	URL    string // where it was found in the end
	Status int
	Type   string // media type
	Text   string // of what is text; UTF-8
	Cut    bool   // it is the beginning of it
	Next   string // where a redirect leads that was not followed, because it names another host
}

// Fetch reads a page with GET, without credentials of any kind, if the policy lets it be reached. A redirect is followed where it leads to the same host; to
// another one it is up to the caller, whose rules may tell hosts apart.
func (p *Policy) Fetch(ctx context.Context, address string) (Page, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchFor)
	defer cancel()
	at, err := parseURL(address)
	if err != nil {
		return Page{}, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), http.NoBody)
	if err != nil {
		return Page{}, err
	}
	request.Header.Set("Accept", "text/html, text/*;q=0.9, application/json;q=0.9, */*;q=0.1")
	request.Header.Set("User-Agent", "life web_fetch")
	client := http.Client{
		CheckRedirect: sameHost,
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
				host, port, err := net.SplitHostPort(address)
				if err != nil {
					return nil, err
				}
				return p.Dial(ctx, host, port)
			},
			DisableKeepAlives: true, TLSHandshakeTimeout: dialFor, MaxResponseHeaderBytes: mostHeader,
		},
	}
	response, err := client.Do(request)
	if err != nil {
		var refused *RefusedError
		if errors.As(err, &refused) {
			return Page{}, refused
		}
		return Page{}, err
	}
	defer response.Body.Close()
	return read(response)
}

// parseURL reads a URL that can be fetched.
func parseURL(address string) (*url.URL, error) {
	if len(address) > mostURL {
		return nil, fmt.Errorf("url: it is longer than %d bytes", mostURL)
	}
	at, err := url.Parse(address)
	switch {
	case err != nil:
		return nil, errors.New("url: it is malformed")
	case at.Scheme != "http" && at.Scheme != "https", at.Hostname() == "":
		return nil, errors.New("url: want http://HOST/… or https://HOST/…")
	case at.User != nil:
		return nil, errors.New("url: it holds a user name or password; pages are fetched without")
	}
	at.Fragment, at.RawFragment = "", ""
	return at, nil
}

// sameHost follows redirects that stay at a host and do not give up TLS.
func sameHost(next *http.Request, before []*http.Request) error {
	last := before[len(before)-1].URL
	if _, err := parseURL(next.URL.String()); err != nil {
		return fmt.Errorf("it redirects: %w", err)
	}
	if !strings.EqualFold(next.URL.Hostname(), last.Hostname()) || last.Scheme == "https" && next.URL.Scheme == "http" {
		return http.ErrUseLastResponse
	}
	if len(before) > mostRedirects {
		return fmt.Errorf("it redirects more than %d times", mostRedirects)
	}
	next.Header.Del("Referer")
	return nil
}

// read reads a response.
func read(response *http.Response) (Page, error) {
	page := Page{URL: response.Request.URL.String(), Status: response.StatusCode}
	if next, err := response.Location(); err == nil && response.StatusCode >= 300 && response.StatusCode < 400 {
		page.Next = next.String()
		return page, nil
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, mostFetched+1))
	if err != nil {
		return page, fmt.Errorf("read %s: %w", page.URL, err)
	}
	if page.Cut = len(body) > mostFetched; page.Cut {
		body = body[:mostFetched]
	}
	declared := cmp.Or(response.Header.Get("Content-Type"), http.DetectContentType(body))
	if page.Type, _, err = mime.ParseMediaType(declared); err != nil {
		return page, fmt.Errorf("read %s: its content type is malformed", page.URL)
	}
	if !readable(page.Type) {
		return page, fmt.Errorf("read %s: it is of the type %s, and only text can be read", page.URL, page.Type)
	}
	decoding, _, _ := charset.DetermineEncoding(body[:min(len(body), 1024)], declared)
	decoded, err := decoding.NewDecoder().Bytes(body)
	if err != nil {
		return page, fmt.Errorf("read %s: decode it: %w", page.URL, err)
	}
	page.Text = strings.ToValidUTF8(string(decoded), "\uFFFD")
	if page.Type == "text/html" || page.Type == "application/xhtml+xml" {
		page.Text = plainText(page.Text)
	}
	return page, nil
}

// readable reports whether a media type is one of text.
func readable(media string) bool {
	switch media {
	case "application/json", "application/xml", "application/xhtml+xml", "application/javascript", "application/yaml", "application/toml", "application/x-ndjson":
		return true
	}
	return strings.HasPrefix(media, "text/") || strings.HasSuffix(media, "+json") || strings.HasSuffix(media, "+xml")
}
