package endpointtest

import (
	"math/rand/v2"
	"strings"
)

// Mutated changes a recording, a frame each, as bad networks and worse gateways do: frames are cut, doubled, left out, reordered, merged and
// retyped. retype is the replacements of the last, in pairs.
func Mutated(frames []string, r *rand.Rand, retype ...string) string {
	frames = append([]string(nil), frames...)
	for range 1 + r.IntN(3) {
		at := r.IntN(len(frames))
		switch r.IntN(7) {
		case 0:
			frames[at] = frames[at][:r.IntN(len(frames[at])+1)]
		case 1:
			frames[at] += frames[at]
		case 2:
			frames[at] = ""
		case 3:
			other := r.IntN(len(frames))
			frames[at], frames[other] = frames[other], frames[at]
		case 4:
			frames[at] = strings.TrimRight(frames[at], "\n")
		case 5:
			frames[at] = strings.NewReplacer(retype...).Replace(frames[at])
		case 6:
			whole := strings.Join(frames, "")
			return whole[:r.IntN(len(whole)+1)]
		}
	}
	return strings.Join(frames, "")
}
