package catalogue

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"example.com/life/adapters/providers/models"
	"example.com/life/events"
)

// ShowPrices returns life prices show.
func (c *Command) ShowPrices() *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use:   "show [MODEL]",
		Short: "Show what models cost, and where and when that was read",
		Long: "Show what a million tokens of a model cost in dollars, and where and when that was read; without MODEL, of all models of the providers\n" +
			"and endpoints that are configured. A model's dated names cost what its name costs, unless they have prices of their own.",
		Example: "  life prices show\n  life prices show anthropic/claude-sonnet-4-5\n  life prices show openai/gpt-4o-2024-08-06 --json",
		Args:    c.Takes(0, 1, "at most one model"),
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 1 {
				return c.showOne(args[0], asJSON)
			}
			found, _, err := c.find("")
			if err != nil {
				return err
			}
			if asJSON {
				return c.JSON(map[string]any{"models": found})
			}
			return c.printPrices(found)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (c *Command) showOne(name string, asJSON bool) error {
	settings := c.Settings()
	table, err := settings.Load()
	if err != nil {
		return err
	}
	model, _ := table.Find(name)
	if model.Price == nil {
		return fmt.Errorf("the price of %s is not known: its tokens count against limits of tokens, its cost against none; "+
			"life prices update reads prices from a file, and the setting prices names a file of your own", events.Clip(name, 100))
	}
	found := newRow(name, model)
	if asJSON {
		return c.JSON(found)
	}
	w := c.Columns()
	fmt.Fprintln(w, "dollars per million tokens\tinput\tcached\twritten to the cache\tfor an hour\toutput")
	fmt.Fprintln(w, rated(name, &model.Price.Rate))
	for _, tier := range model.Price.Tiers {
		fmt.Fprintln(w, rated(fmt.Sprintf("  with more than %d tokens of prompt", tier.Above), &tier.Rate))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(c.Print(), origin(&found))
	return nil
}

// origin says where a price is from and how old it is.
func origin(r *row) string {
	p := r.Price
	said := "from " + p.Origin
	if p.Origin == models.Builtin {
		said = models.Builtin
	}
	if p.Source != "" {
		said += ", as read at " + p.Source
	}
	if p.AsOf != "" {
		said += ", as of " + p.AsOf
	}
	if r.Old > 0 {
		said += fmt.Sprintf("\nthat is %d days old: life prices update reads newer prices from a file", r.Old)
	}
	return said
}

func (c *Command) printPrices(found []row) error {
	w := c.Columns()
	fmt.Fprintln(w, "dollars per million tokens\tinput\tcached\twritten to the cache\tfor an hour\toutput\tas of")
	for i := range found {
		r := &found[i]
		if r.Price == nil {
			continue
		}
		fmt.Fprintln(w, rated(r.Name, &r.Price.Rate)+"\t"+dated(r))
		for _, tier := range r.Price.Tiers {
			fmt.Fprintln(w, rated(fmt.Sprintf("  above %d tokens", tier.Above), &tier.Rate)+"\t")
		}
	}
	return w.Flush()
}

func rated(name string, r *models.Rate) string {
	cached, write, long := r.Said()
	return strings.Join([]string{name, dollars(r.Input), dollars(cached), dollars(write), dollars(long), dollars(r.Output)}, "\t")
}

// dollars is money with at least two decimals, and as many as it has; what was not said is negative.
func dollars(m events.Money) string {
	if m < 0 {
		return "-"
	}
	text := strings.TrimRight(fmt.Sprintf("%d.%06d", m/events.Dollar, m%events.Dollar), "0")
	whole, decimals, _ := strings.Cut(text, ".")
	for len(decimals) < 2 {
		decimals += "0"
	}
	return whole + "." + decimals
}

// UpdatePrices returns life prices update.
func (c *Command) UpdatePrices() *cobra.Command {
	asJSON, asOf := false, ""
	cmd := &cobra.Command{
		Use:   "update FILE",
		Short: "Read prices from LiteLLM's file, and say what changes",
		Long: "Read prices and limits from a copy of the file model_prices_and_context_window.json that the LiteLLM project publishes, and lay them over the\n" +
			"built-in ones. They are kept in the data directory, in place of those of the last update; a file of your own (the setting prices) is\n" +
			"laid over them. Entries that make no sense are refused, and named. A life serve that runs goes by them when it is started again.",
		Example: "  life prices update model_prices_and_context_window.json\n  life prices update model_prices_and_context_window.json --as-of 2026-11-01 --json",
		Args:    c.Takes(1, 1, "one file"),
		RunE: func(_ *cobra.Command, args []string) error {
			if _, err := time.Parse(time.DateOnly, asOf); err != nil && asOf != "" {
				return c.Usage("--as-of is %q, which is not a date such as 2026-11-01", events.Clip(asOf, 40))
			}
			u, err := c.update(args[0], asOf)
			if err != nil {
				return err
			}
			if asJSON {
				return c.JSON(u)
			}
			return c.printUpdate(u)
		},
	}
	cmd.Flags().StringVar(&asOf, "as-of", "", "when the file was fetched, such as 2026-11-01 (default: when it was last changed)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// update is what an update did.
type update struct {
	File    string           `json:"file"` // that was written
	AsOf    string           `json:"as_of"`
	Read    int              `json:"read"`
	Skipped int              `json:"skipped"`
	Refused []models.Refusal `json:"refused"`
	Changes []models.Change  `json:"changes"`
	Hidden  []string         `json:"hidden"` // have no effect: the person's own file prices them
}

func (c *Command) update(path, asOf string) (*update, error) {
	settings := c.Settings()
	before, err := settings.Load()
	if err != nil {
		return nil, err
	}
	read, err := models.ReadLiteLLM(path, asOf)
	if err != nil {
		return nil, err
	}
	u := &update{
		File: models.PricesPath(settings.Data), AsOf: read.File.AsOf, Read: len(read.File.Models), Skipped: read.Skipped,
		Refused: append([]models.Refusal{}, read.Refused...), Changes: []models.Change{}, Hidden: []string{},
	}
	after, hidden, err := models.With(settings.Data, settings.Own, u.File, read.File)
	if err != nil {
		return nil, err
	}
	u.Hidden = append(u.Hidden, hidden...)
	u.Changes = append(u.Changes, models.Changes(before, after)...)
	return u, models.WriteFile(u.File, read.File)
}

// mostShown is how many of many a person is shown.
const mostShown = 20

func (c *Command) printUpdate(u *update) error {
	fmt.Fprintf(c.Print(), "read %d prices, as of %s; %d entries are about other things\n", u.Read, u.AsOf, u.Skipped)
	for i, r := range u.Refused {
		if i == mostShown {
			fmt.Fprintf(c.Print(), "  and %d more: --json names all\n", len(u.Refused)-mostShown)
			break
		}
		fmt.Fprintf(c.Print(), "  refused %s: %s\n", r.Model, r.Why)
	}
	known, err := c.knownProviders()
	if err != nil {
		return err
	}
	w, others, shown := c.Columns(), 0, 0
	for _, change := range u.Changes {
		if provider, _, _ := strings.Cut(change.Model, "/"); !known(provider) || shown == mostShown {
			others++
			continue
		}
		shown++
		fmt.Fprintf(w, "%s\t%s\n", change.Model, changed(&change))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if others > 0 {
		fmt.Fprintf(c.Print(), "%d other models changed: --json names all\n", others)
	}
	if len(u.Changes) == 0 {
		fmt.Fprintln(c.Print(), "nothing changes")
	}
	if len(u.Hidden) > 0 {
		fmt.Fprintf(c.Print(), "%d of them have no effect, because %s prices them: %s\n", len(u.Hidden), c.Settings().Own, events.Clip(strings.Join(u.Hidden, ", "), 200))
	}
	fmt.Fprintf(c.Print(), "written to %s\n", u.File)
	return nil
}

func (c *Command) knownProviders() (func(string) bool, error) {
	settings := c.Settings()
	names, err := settings.known()
	return func(name string) bool {
		for _, known := range names {
			if known == name {
				return true
			}
		}
		return false
	}, err
}

// changed says how a model's price, or its window, changes.
func changed(change *models.Change) string {
	brief := func(m *models.Model) string {
		if m.Price == nil {
			return "no price"
		}
		text := dollars(m.Price.Input) + " and " + dollars(m.Price.Output)
		if len(m.Price.Tiers) > 0 {
			text += fmt.Sprintf(", %d tiers", len(m.Price.Tiers))
		}
		return text
	}
	switch {
	case change.Before == nil:
		return "new: " + brief(change.After)
	case change.After == nil:
		return "gone, was " + brief(change.Before)
	case brief(change.Before) != brief(change.After):
		return brief(change.After) + ", was " + brief(change.Before)
	case change.Before.Window != change.After.Window || change.Before.MaxOutput != change.After.MaxOutput:
		return fmt.Sprintf("window %s, reply %s; was %s, %s", count(change.After.Window), count(change.After.MaxOutput), count(change.Before.Window), count(change.Before.MaxOutput))
	}
	return "its prices of the cache, or its abilities"
}
