package catalogue

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"example.com/life/adapters/providers"
	"example.com/life/adapters/providers/endpoint"
	"example.com/life/adapters/providers/models"
)

// RefreshModels returns life models refresh.
func (c *Command) RefreshModels() *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use:   "refresh",
		Short: "Ask the configured endpoints which models they have, and what these can take",
		Long: "Ask every endpoint that is configured which models it has. What it says of their windows, their longest replies and their abilities is kept in\n" +
			"the data directory and laid over the built-in table; prices are not in it. The lists of endpoints that do not answer stay as they are, with their dates.",
		Example: "  life models refresh\n  life models refresh --json",
		Args:    c.Takes(0, 0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			asked, err := c.refresh(cmd.Context())
			if err != nil {
				return err
			}
			if asJSON {
				if err := c.JSON(map[string]any{"endpoints": asked}); err != nil {
					return err
				}
			} else {
				c.printRefresh(asked)
			}
			if !slices.ContainsFunc(asked, func(a answered) bool { return a.Problem == "" }) {
				return errors.New("no endpoint listed its models; life doctor shows which are configured")
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// answered is what became of asking one endpoint.
type answered struct {
	Endpoint string `json:"endpoint"`
	Models   int    `json:"models"`
	Limits   int    `json:"limits"`          // of them, whose windows it says
	Skipped  int    `json:"skipped"`         // whose names cannot be those of models
	AsOf     string `json:"as_of,omitempty"` // of the list that counts now: without a problem today, else that of the former one
	Problem  string `json:"problem,omitempty"`
}

func (c *Command) refresh(ctx context.Context) ([]answered, error) {
	settings := c.Settings()
	set, err := providers.New(settings.Models)
	if err != nil {
		return nil, err
	}
	path := models.ListedPath(settings.Data)
	file, err := models.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		fmt.Fprintf(c.Note(), "what was listed before cannot be read, and is replaced: %v\n", err)
	}
	if err != nil {
		file = &models.File{}
	}
	file.DateEntries()
	today := time.Now().UTC().Format(time.DateOnly)
	asked := []answered{}
	for _, name := range set.Names() {
		listed, err := set.List(ctx, name)
		if errors.Is(err, providers.ErrNotListed) {
			continue
		}
		a := answered{Endpoint: name}
		if err != nil {
			a.Problem, a.AsOf = err.Error(), file.ListedOn(name)
		} else {
			a.AsOf = today
			a.take(file, listed)
		}
		asked = append(asked, a)
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if !slices.ContainsFunc(asked, func(a answered) bool { return a.Problem == "" }) {
		return asked, nil // what was there stays
	}
	return asked, models.WriteFile(path, file)
}

// take puts a list in place of the endpoint's former one.
func (a *answered) take(file *models.File, listed []endpoint.Listed) {
	maps.DeleteFunc(file.Models, func(name string, _ models.Entry) bool { return strings.HasPrefix(name, a.Endpoint+"/") })
	for _, l := range listed {
		name := a.Endpoint + "/" + l.ID
		if models.CheckName(name) != nil {
			a.Skipped++
			continue
		}
		file.Models[name] = models.Entry{AsOf: a.AsOf, Window: l.Window, MaxOutput: l.MaxOutput, Thinking: l.Thinking, Tools: l.Tools}
		a.Models++
		if l.Window > 0 {
			a.Limits++
		}
	}
}

func (c *Command) printRefresh(asked []answered) {
	for _, a := range asked {
		switch {
		case a.Problem != "" && a.AsOf != "":
			fmt.Fprintf(c.Print(), "%s: not listed, its list of %s stays: %s\n", a.Endpoint, a.AsOf, a.Problem)
		case a.Problem != "":
			fmt.Fprintf(c.Print(), "%s: not listed: %s\n", a.Endpoint, a.Problem)
		case a.Skipped > 0:
			fmt.Fprintf(c.Print(), "%s: %d models, %d with their windows; %d have names that cannot be used\n", a.Endpoint, a.Models, a.Limits, a.Skipped)
		default:
			fmt.Fprintf(c.Print(), "%s: %d models, %d with their windows\n", a.Endpoint, a.Models, a.Limits)
		}
	}
}
