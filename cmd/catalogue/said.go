package catalogue

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"example.com/life/events"
)

// saidName is where it is kept, in the data directory, of which models it has been said that their prices are old.
const saidName = "models/said.json"

// maxSaid bounds what is kept.
const maxSaid = 1 << 20

// SayOld says that the price of a model is old, once for each model and price. What cannot be kept is said again.
func (s *Settings) SayOld(out io.Writer, model string, now time.Time) error {
	table, err := s.Load()
	if err != nil {
		return err
	}
	found, _ := table.Find(model)
	if found.Price == nil {
		return nil
	}
	days, old := found.Price.Old(now)
	path := filepath.Join(s.Data, saidName)
	said := map[string]string{}
	if text, err := os.ReadFile(path); err == nil && len(text) <= maxSaid {
		if json.Unmarshal(text, &said) != nil { // what cannot be read was not said
			said = map[string]string{}
		}
	}
	if !old || said[model] == found.Price.AsOf {
		return nil
	}
	fmt.Fprintf(out, "the price of %s is %d days old (as of %s): life prices update reads newer ones from a file\n", events.Clip(model, 100), days, found.Price.AsOf)
	if said == nil || len(said) > 1000 {
		said = map[string]string{}
	}
	said[model] = found.Price.AsOf
	remember(path, said)
	return nil
}

// remember notes what was said. What cannot be noted is said again.
func remember(path string, said map[string]string) (noted bool) {
	text, err := json.Marshal(said)
	return err == nil && os.MkdirAll(filepath.Dir(path), 0o700) == nil && os.WriteFile(path, text, 0o600) == nil
}
