package cmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"example.com/life/adapters/providers"
	"example.com/life/adapters/sandbox"
	"example.com/life/cmd/catalogue"
	"example.com/life/cmd/stores"
	"example.com/life/sagas"
)

// finding is what doctor found out about one thing.
type finding struct {
	Check   string `json:"check"`
	OK      bool   `json:"ok"`
	Detail  string `json:"detail"`
	Remedy  string `json:"remedy,omitempty"`
	trouble bool   // not OK, and in the way
}

// shownSetting is a setting as doctor shows it.
type shownSetting struct {
	Name   string `json:"name"`
	Value  string `json:"value"`
	Source string `json:"source"`
	Flag   string `json:"flag,omitempty"`
	Env    string `json:"env"`
}

func doctorCommand(a *app) *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Show the settings in effect, and every problem with its fix",
		Long: "Show every setting and where it comes from, and check what life needs: the store, the data directory, disk space, providers, tools, and\n" +
			"whether a life serve runs; of a cluster its certificates, hosts, clocks, blobs and builds. It calls no model. It exits with status 1 if something prevents life from working.",
		Example: "  life doctor\n  life doctor --json",
		Args:    takes(0, 0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			findings := a.examine(cmd.Context())
			shown := a.shownSettings()
			if asJSON {
				if err := a.printJSON(map[string]any{"settings": shown, "config_file": a.config.file, "checks": findings}); err != nil {
					return err
				}
			} else if err := a.printDoctor(shown, findings); err != nil {
				return err
			}
			wrong := 0
			for _, f := range findings {
				if f.trouble {
					wrong++
				}
			}
			if wrong > 0 {
				return &exit{exitError, coded("problems", "%d problems found", wrong)}
			}
			return nil
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

func (a *app) shownSettings() []shownSetting {
	var shown []shownSetting
	for _, e := range a.config.values {
		s := shownSetting{Name: e.key(), Value: e.value, Source: e.source, Env: e.env, Flag: "--" + e.flag}
		if e.secret {
			s.Flag = ""
			if s.Value != "" {
				s.Value = "(set)"
			}
		}
		if e.flag == "store" {
			s.Value = stores.Masked(s.Value)
		}
		shown = append(shown, s)
	}
	return shown
}

func (a *app) printDoctor(shown []shownSetting, findings []finding) error {
	file := a.config.file
	if file == "" {
		file = "none"
	}
	fmt.Fprintf(a.out, "configuration file: %s\n\n", file)
	w := table(a.out)
	for _, s := range shown {
		value := s.Value
		if value == "" {
			value = "-"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", s.Name, value, s.Source)
	}
	fmt.Fprintln(w)
	for _, f := range findings {
		verdict := "ok"
		switch {
		case f.trouble:
			verdict = "WRONG"
		case !f.OK:
			verdict = "note"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", verdict, f.Check, f.Detail)
		if f.Remedy != "" && !f.OK {
			fmt.Fprintf(w, "\t\t→ %s\n", f.Remedy)
		}
	}
	return w.Flush()
}

// examine makes every check.
func (a *app) examine(ctx context.Context) []finding {
	findings := append(a.examineStore(ctx), a.examineSpace(), a.examineServe(ctx))
	findings = append(findings, a.examineCluster(ctx)...)
	findings = append(findings, a.examineModels()...)
	return append(findings, a.examineTools(), a.examineSandbox(ctx), a.examineToken())
}

func wrong(check, detail, remedy string) finding {
	return finding{Check: check, Detail: detail, Remedy: remedy, trouble: true}
}

// existing is the nearest directory above a path that exists.
func existing(path string) string {
	for {
		if _, err := os.Stat(path); err == nil || path == filepath.Dir(path) {
			return path
		}
		path = filepath.Dir(path)
	}
}

// leastSpace is the free space below which doctor complains; the store refuses to write below a part of it.
const leastSpace = 256 << 20

func (a *app) examineSpace() finding {
	const check = "disk space"
	path := existing(a.config.get("data"))
	var disk unix.Statfs_t
	if err := unix.Statfs(path, &disk); err != nil {
		return wrong(check, err.Error(), "")
	}
	free := disk.Bavail * uint64(disk.Bsize)
	detail := fmt.Sprintf("%d MiB free at %s", free>>20, path)
	if free < leastSpace {
		return wrong(check, detail, "free some space: appends are refused when the disk is nearly full")
	}
	return finding{Check: check, OK: true, Detail: detail}
}

func (a *app) examineServe(ctx context.Context) finding {
	const check = "life serve"
	host, err := a.reachServe(ctx)
	if err == nil {
		where, err := readServing(a.config.get("data"))
		if err == nil {
			err = host.close(closeTime)
		}
		if err != nil {
			return wrong(check, err.Error(), "")
		}
		return finding{Check: check, OK: true, Detail: fmt.Sprintf("answers at %s, process %d", where.Address, where.PID)}
	}
	if errors.Is(err, errNotServing) {
		return finding{Check: check, OK: true, Detail: "not running; commands open the store themselves"}
	}
	return wrong(check, err.Error(), "restart it: life serve")
}

// examineModels is about the providers. One that is not ready is in the way only if it is the one in use.
func (a *app) examineModels() []finding {
	set, err := providers.New(a.config.models)
	if err != nil {
		return []finding{wrong("providers", err.Error(), "correct the configuration")}
	}
	var findings []finding
	for _, c := range set.Doctor() {
		f := finding{Check: "provider " + c.Provider, OK: c.Ready && c.Problem == "", Detail: c.Detail, Remedy: c.Remedy}
		if c.Problem != "" {
			f.Detail = c.Problem
		}
		findings = append(findings, f)
	}
	model := a.config.find("model")
	if model.value == "" {
		findings = append(findings, finding{Check: "model", Detail: "none is set for new agents", Remedy: "--model, LIFE_MODEL, OPENAI_API_KEY or ANTHROPIC_API_KEY sets one; life demo needs none"})
	} else if err := a.usable(set, model.value); err != nil {
		findings = append(findings, wrong("model", err.Error(), "choose another one with --model or LIFE_MODEL, such as scripted/tour, which needs no key"))
	} else {
		findings = append(findings, finding{Check: "model", OK: true, Detail: model.value + ": " + model.source})
	}
	for _, name := range slices.Sorted(maps.Keys(a.config.routes)) {
		if err := a.usable(set, sagas.RoutePrefix+name); err != nil {
			findings = append(findings, wrong(sagas.RoutePrefix+name, err.Error(), "correct routes in "+a.config.file))
		}
	}
	return append(findings, a.examinePrices(model.value))
}

// usable says why a model cannot be asked, or a candidate of a route.
func (a *app) usable(set *providers.Set, model string) error {
	name, routed := strings.CutPrefix(model, sagas.RoutePrefix)
	if !routed {
		_, _, err := set.Lookup(model)
		return err
	}
	if len(a.config.routes[name]) == 0 {
		return fmt.Errorf("there is no route %q: the configuration file names them as routes", name)
	}
	for _, candidate := range a.config.routes[name] {
		if _, _, err := set.Lookup(candidate.Model); err != nil {
			return err
		}
	}
	return nil
}

// examinePrices is about the table of prices, and the price of the model in use.
func (a *app) examinePrices(model string) finding {
	const check = "prices"
	table, err := a.catalogue().Load()
	if err != nil {
		return wrong(check, err.Error(), "correct the file, or remove the setting")
	}
	if model == "" {
		return finding{Check: check, OK: true, Detail: fmt.Sprintf("of %d models", len(table.Names()))}
	}
	found, _ := table.Find(model)
	if found.Price == nil {
		return finding{
			Check: check, Detail: "the price of " + model + " is not known: it counts against limits of tokens, and against none of money",
			Remedy: "life prices update reads prices from a file; the setting prices names a file of your own",
		}
	}
	if days, old := found.Price.Old(time.Now()); old {
		return finding{
			Check: check, Detail: fmt.Sprintf("the price of %s is %d days old (as of %s)", model, days, found.Price.AsOf),
			Remedy: "life prices update reads newer ones from a file; life prices show " + model + " shows it",
		}
	}
	return finding{Check: check, OK: true, Detail: fmt.Sprintf("of %s: as of %s", model, cmp.Or(found.Price.AsOf, "no date, from "+found.Price.Origin))}
}

func (a *app) examineTools() finding {
	path, err := exec.LookPath("bash")
	if err != nil {
		return wrong("tool bash", "there is no bash: "+err.Error(), "install bash, or remove it from --tools")
	}
	return finding{Check: "tool bash", OK: true, Detail: path}
}

// examineSandbox tries what confines commands here.
func (a *app) examineSandbox(ctx context.Context) finding {
	const check = "sandbox"
	commands, err := sandbox.New(a.config.sandbox)
	if err != nil {
		return wrong(check, err.Error(), "")
	}
	defer commands.Close()
	report := commands.Probe(ctx)
	detail := fmt.Sprintf("level %d of 3 (%v), as user %d, Landlock %d", report.Level, report.Level, report.UID, report.Landlock)
	if len(report.Reasons) > 0 {
		detail += "; " + strings.Join(report.Reasons, "; ")
	}
	const remedy = "docs/sandbox.md says what each level needs"
	switch {
	case report.Refused != nil:
		return wrong(check, detail+"; commands are refused", remedy+"; --sandbox-mode off runs commands without a sandbox")
	case report.Level < sandbox.LevelNamespaces:
		return finding{Check: check, Detail: detail, Remedy: remedy}
	}
	return finding{Check: check, OK: true, Detail: detail}
}

func (a *app) examineToken() finding {
	const check = "listen"
	address, token, err := a.guardedAddress()
	if err != nil {
		return wrong(check, err.Error(), "life serve would refuse to start: correct listen or token_file")
	}
	if path := a.config.get("token-file"); path != "" {
		if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o077 != 0 {
			return finding{Check: check, Detail: fmt.Sprintf("%s can be read by others (%s)", path, info.Mode().Perm()), Remedy: "chmod 600 " + quote(path)}
		}
	}
	detail := address + ", without a token: loopback only"
	if token != "" {
		detail = address + ", with a token"
	}
	return finding{Check: check, OK: true, Detail: detail}
}

// catalogue is what the verbs about models and prices depend on.
func (a *app) catalogue() *catalogue.Settings {
	return &catalogue.Settings{Data: a.config.get("data"), Own: a.config.get("prices"), Models: a.config.models}
}

// catalogueCommands are life models, life prices and life skills.
func catalogueCommands(a *app) []*cobra.Command {
	c := &catalogue.Command{
		Print: func() io.Writer { return seen(a.out) }, Note: func() io.Writer { return a.errs }, Columns: func() *tabwriter.Writer { return table(a.out) },
		JSON: a.printJSON, Usage: usage, Takes: takes, Settings: func() catalogue.Settings { return *a.catalogue() },
	}
	return []*cobra.Command{
		storeless(aboutNone, group("models", "List what is known of models, and ask endpoints for more", "  life models list", c.ListModels(), c.RefreshModels())),
		storeless(aboutNone, group("prices", "Show and update what models cost", "  life prices show", c.ShowPrices(), c.UpdatePrices())),
		storeless(aboutNone, group("skills", "List, show and check skills: what agents can be taught by files", "  life skills list", c.ListSkills(), c.ShowSkill(), c.ValidateSkills())),
	}
}
