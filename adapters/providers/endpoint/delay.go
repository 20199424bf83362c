package endpoint

import (
	"encoding/json"
	"math"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// maxRetryAfter bounds what a provider may ask for.
const maxRetryAfter = 24 * time.Hour

// retryAfter reads from a refusal's header when the provider wants to be asked again: milliseconds, seconds, a duration, or a date. 0 if
// it does not say. The times at which limits are renewed count for refusals because of a limit.
func retryAfter(header http.Header, status int, now time.Time) time.Duration {
	if wait, ok := number(header.Get("Retry-After-Ms"), time.Millisecond); ok {
		return wait
	}
	if wait := delayOf(header.Get("Retry-After"), now); wait > 0 || header.Get("Retry-After") != "" {
		return wait
	}
	if status != http.StatusTooManyRequests {
		return 0
	}
	wait := time.Duration(0)
	for _, name := range []string{"Requests", "Tokens"} { // of the limit that is used up
		if header.Get("X-Ratelimit-Remaining-"+name) == "0" {
			wait = max(wait, delayOf(header.Get("X-Ratelimit-Reset-"+name), now))
		}
	}
	if wait == 0 {
		wait = delayOf(header.Get("X-Ratelimit-Reset"), now)
	}
	return wait
}

// delayOf reads seconds, a duration such as 6m0s, a date, or the time of a reset since 1970, in seconds or milliseconds.
func delayOf(value string, now time.Time) time.Duration {
	value = strings.TrimSpace(value)
	const epoch = 1_000_000_000 // as seconds: 2001
	if seconds, err := strconv.ParseFloat(value, 64); err == nil && seconds > epoch && seconds < 1e14 {
		if seconds > 1000*epoch {
			seconds /= 1000
		}
		return min(max(time.Unix(int64(seconds), 0).Sub(now), 0), maxRetryAfter)
	}
	if wait, ok := number(value, time.Second); ok {
		return wait
	}
	if wait, err := time.ParseDuration(value); err == nil {
		return min(max(wait, 0), maxRetryAfter)
	}
	if date, err := http.ParseTime(value); err == nil {
		return min(max(date.Sub(now), 0), maxRetryAfter)
	}
	return 0
}

func number(text string, unit time.Duration) (time.Duration, bool) {
	value, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err != nil || math.IsNaN(value) || value < 0 {
		return 0, false
	}
	wait := math.Ceil(value * float64(unit)) // in floating point: the product may be beyond any Duration
	return time.Duration(min(wait, float64(maxRetryAfter))), true
}

// bodyDelay looks in an error's JSON for when to ask again: Google's RetryInfo, and fields that say so. Where several are, the longest.
func bodyDelay(p problem) time.Duration { return fieldDelay(p, 0) }

func fieldDelay(p problem, depth int) time.Duration {
	wait := time.Duration(0)
	for name, raw := range p {
		field := strings.ReplaceAll(strings.ReplaceAll(strings.ToLower(name), "-", "_"), "_", "")
		text := strings.Trim(string(raw), `"`)
		switch field {
		case "retrydelay", "retryafter", "retryafterseconds", "retryin", "waitseconds", "xratelimitreset":
			wait = max(wait, delayOf(text, time.Now()))
		case "retryafterms", "retryaftermilliseconds":
			ms, _ := number(text, time.Millisecond)
			wait = max(wait, ms)
		}
		if depth == 5 || len(raw) == 0 {
			continue
		}
		var inner problem
		var several []problem
		switch {
		case raw[0] == '{' && json.Unmarshal(raw, &inner) == nil:
			wait = max(wait, fieldDelay(inner, depth+1))
		case raw[0] == '[' && json.Unmarshal(raw, &several) == nil:
			for _, one := range several {
				wait = max(wait, fieldDelay(one, depth+1))
			}
		}
	}
	return wait
}

// Delays in words: "Please retry in 20.5s", "try again in 1m30s", "retry after 59 seconds", "wait 2 minutes".
var (
	delayWords = regexp.MustCompile(`(?i)(?:(?:re)?try(?:ing)?(?: again)?|wait|available|reset\w*|renewed)(?: (?:in|after|for|at least|about))* *:? *((?:\d+(?:\.\d+)? ?(?:milliseconds?|ms|seconds?|secs?|s|minutes?|mins?|m|hours?|hrs?|h)\b?(?:,? (?:and )?)?)+)`)
	delayPart  = regexp.MustCompile(`(?i)(\d+(?:\.\d+)?) ?(milliseconds?|ms|seconds?|secs?|s|minutes?|mins?|m|hours?|hrs?|h)`)
)

func wordsDelay(words string) time.Duration {
	wait := time.Duration(0)
	for _, found := range delayWords.FindAllStringSubmatch(words, 8) {
		sum := time.Duration(0)
		for _, part := range delayPart.FindAllStringSubmatch(found[1], 4) {
			unit := time.Second
			switch name := strings.ToLower(part[2]); {
			case strings.HasPrefix(name, "ms"), strings.HasPrefix(name, "mil"):
				unit = time.Millisecond
			case strings.HasPrefix(name, "m"):
				unit = time.Minute
			case strings.HasPrefix(name, "h"):
				unit = time.Hour
			}
			n, _ := number(part[1], unit)
			sum = min(sum+n, maxRetryAfter)
		}
		wait = max(wait, sum)
	}
	return wait
}
