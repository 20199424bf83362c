package membership_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// TestRandomFaults: after any faults, all that run and are members agree, nobody who was well was removed, and who was removed knows it.
func TestRandomFaults(t *testing.T) {
	seeds := uint64(12)
	if testing.Short() {
		seeds = 3
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				random := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // the same each time
				names := []string{"a", "b", "c", "d", "e"}
				running := map[string]*process{}
				for _, p := range w.members(names...) {
					running[p.name] = p
				}
				harmed := map[string]time.Time{}
				for range 12 {
					name := names[random.IntN(len(names))]
					p := running[name]
					length := time.Duration(random.IntN(4000)) * time.Millisecond
					switch fault := random.IntN(7); {
					case p == nil || p.removed(): // it starts anew
						if p != nil {
							p.kill()
						}
						again, err := w.start(name)
						if err != nil {
							t.Logf("%s: %v", name, err)
							delete(running, name)
							continue
						}
						running[name] = again
						continue
					case fault == 0:
						p.kill()
						delete(running, name)
					case fault == 1:
						p.pause()
						pass(length)
						p.resume()
					case fault == 2:
						w.cutOff(name)
						pass(length)
						w.heal()
					case fault == 3:
						w.cut(name, names[random.IntN(len(names))])
						pass(length)
						w.heal()
					case fault == 4:
						w.cut(theStore, name)
						pass(length)
						w.heal()
					case fault == 5:
						w.stall()
						pass(length)
						w.answer()
						continue // harms nobody
					default:
						pass(length)
						continue
					}
					harmed[name] = time.Now()
				}
				w.until(20*time.Second, "all agree", func() bool {
					var members []*process
					for _, p := range running {
						if !p.removed() {
							members = append(members, p)
						}
					}
					return w.agree(members...)
				})
				for _, removed := range w.removals() {
					if _, was := harmed[removed.Host.Name()]; !was {
						t.Errorf("%s was removed (%s, by %s), and nothing was wrong with it:\n%s", removed.Host, removed.Because, removed.By, w.story())
					}
				}
			})
		})
	}
}
