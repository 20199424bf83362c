// Package catalogue has the verbs about what agents can be given: life models, life prices and life skills.
package catalogue

import (
	"fmt"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"example.com/life/adapters/providers"
	"example.com/life/adapters/providers/models"
	"example.com/life/events"
)

// Command is what the verbs need of the command line that they are part of.
type Command struct {
	Print    func() io.Writer
	Note     func() io.Writer // for what is not the result
	Columns  func() *tabwriter.Writer
	JSON     func(value any) error
	Usage    func(format string, args ...any) error
	Takes    func(least, most int, names string) cobra.PositionalArgs
	Settings func() Settings
}

// Settings are those of the command line that the verbs depend on.
type Settings struct {
	Data   string // the data directory
	Own    string // the person's table; empty: none
	Models providers.Config
}

// Load returns the table that is in effect.
func (s *Settings) Load() (*models.Table, error) {
	table, err := models.Load(s.Data, s.Own)
	if err != nil {
		return nil, err
	}
	windows := map[string]int64{}
	for _, e := range s.Models.Endpoints {
		windows[e.Name] = e.Window
	}
	table.Narrow(windows)
	return table, nil
}

// known are the names of the providers that there are.
func (s *Settings) known() ([]string, error) {
	set, err := providers.New(s.Models)
	if err != nil {
		return nil, err
	}
	return set.Names(), nil
}

// ModelNames are those of the models that are known, of providers that there are; of endpoints of which none is known, the beginning.
func (s *Settings) ModelNames() ([]string, error) {
	table, err := s.Load()
	if err != nil {
		return nil, err
	}
	known, err := s.known()
	if err != nil {
		return nil, err
	}
	var names []string
	for _, provider := range known {
		before := len(names)
		for _, name := range table.Names() {
			if strings.HasPrefix(name, provider+"/") && !strings.HasSuffix(name, "/*") {
				names = append(names, name)
			}
		}
		if len(names) == before {
			names = append(names, provider+"/")
		}
	}
	return names, nil
}

// row is a model as the verbs print it.
type row struct {
	Name string `json:"model"`
	models.Model
	Old int `json:"days_old,omitempty"` // of its price, if that is too many
}

func newRow(name string, model models.Model) row {
	r := row{Name: name, Model: model}
	if model.Price != nil {
		r.Old, _ = model.Price.Old(time.Now())
	}
	return r
}

// rows are the models whose names match the pattern; without one, those of the providers that there are. others are how many are left out.
func rows(table *models.Table, pattern string, known []string) (found []row, others int, err error) {
	for _, name := range table.Names() {
		provider, _, _ := strings.Cut(name, "/")
		wanted := slices.Contains(known, provider)
		if pattern != "" {
			if wanted, err = matches(pattern, name); err != nil {
				return nil, 0, err
			}
		}
		if !wanted {
			others++
			continue
		}
		entry, _ := table.Find(name)
		found = append(found, newRow(name, entry))
	}
	return found, others, nil
}

// matches reports whether a name has a pattern in it, or, if the pattern has the signs of one, is as it says. Its * stands for slashes too.
func matches(pattern, name string) (bool, error) {
	if !strings.ContainsAny(pattern, `*?[\`) {
		return strings.Contains(strings.ToLower(name), strings.ToLower(pattern)), nil
	}
	return path.Match(strings.ReplaceAll(pattern, "/", "\x00"), strings.ReplaceAll(name, "/", "\x00"))
}

// ListModels returns life models list.
func (c *Command) ListModels() *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use:   "list [PATTERN]",
		Short: "List what is known of models: window, longest reply, abilities, price",
		Long: "List what is known of models: how many tokens their windows hold, how long their replies may be, whether they think and call tools, and\n" +
			"what a million tokens cost in dollars. Without PATTERN, which is a part of a name or a pattern such as 'openai/*', the models of the\n" +
			"providers and endpoints that are configured. A model that is not listed can be used all the same.",
		Example: "  life models list\n  life models list sonnet\n  life models list 'openai/gpt-5*' --json",
		Args:    c.Takes(0, 1, "at most one pattern"),
		RunE: func(_ *cobra.Command, args []string) error {
			found, others, err := c.find(strings.Join(args, ""))
			if err != nil {
				return err
			}
			if asJSON {
				return c.JSON(map[string]any{"models": found})
			}
			return c.printModels(found, others, len(args) > 0)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (c *Command) find(pattern string) ([]row, int, error) {
	settings := c.Settings()
	table, err := settings.Load()
	if err != nil {
		return nil, 0, err
	}
	known, err := settings.known()
	if err != nil {
		return nil, 0, err
	}
	found, others, err := rows(table, pattern, known)
	switch {
	case err != nil:
		return nil, 0, c.Usage("%q is not a part of a name or a pattern such as 'openai/*': %w", events.Clip(pattern, 100), err)
	case len(found) == 0 && pattern != "":
		return nil, 0, fmt.Errorf("no model that is known has a name like %q; life models list '*' lists all", events.Clip(pattern, 100))
	}
	return found, others, nil
}

func (c *Command) printModels(found []row, others int, asked bool) error {
	w := c.Columns()
	fmt.Fprintln(w, "model\twindow\treply\tthinks\ttools\tinput\toutput\tas of")
	for i := range found {
		m := &found[i]
		input, output, asOf := "-", "-", "-"
		if m.Price != nil {
			input, output, asOf = dollars(m.Price.Input), dollars(m.Price.Output), dated(m)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", m.Name, count(m.Window), count(m.MaxOutput), can(m.Thinking), can(m.Tools), input, output, asOf)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if others > 0 && !asked {
		fmt.Fprintf(c.Note(), "%d more of providers that are not configured: life models list '*'\n", others)
	}
	return nil
}

func dated(r *row) string {
	switch {
	case r.Price.AsOf == "":
		return "-"
	case r.Old > 0:
		return fmt.Sprintf("%s (%d days ago)", r.Price.AsOf, r.Old)
	}
	return r.Price.AsOf
}

func can(able *bool) string {
	switch {
	case able == nil:
		return "-"
	case *able:
		return "yes"
	}
	return "no"
}

func count(tokens int64) string {
	if tokens == 0 {
		return "-"
	}
	return strconv.FormatInt(tokens, 10)
}
