package cmd

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"example.com/life/actors"
	"example.com/life/actors/storage"
	"example.com/life/adapters/api"
	"example.com/life/adapters/fspolicy"
	"example.com/life/adapters/permission"
	"example.com/life/adapters/sandbox"
	"example.com/life/adapters/tools"
	"example.com/life/events"
	"example.com/life/sagas"
)

func rulesCommand(a *app) *cobra.Command {
	return group("rules", "Show and replace homeostasis rules, which advise agents how to work", "  life rules show\n  life rules adopt rules.json",
		rulesShowCommand(a), rulesAdoptCommand(a))
}

func rulesShowCommand(a *app) *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use:     "show [TENANT]",
		Short:   "Show a tenant's homeostasis rules",
		Long:    "Show a tenant's homeostasis rules: the first rule that matches an agent's state decides its operating mode. life rules adopt reads the JSON form.",
		Example: "  life rules show\n  life rules show accounts --json > rules.json",
		Args:    takes(0, 1, "at most one tenant"),
		RunE: func(cmd *cobra.Command, args []string) error {
			tenant := tenantOf(args)
			return a.with(cmd.Context(), func(host reached) error {
				found, err := host.Rules(cmd.Context(), tenant)
				if err != nil {
					return err
				}
				rules := api.NewRules(tenant, found)
				if asJSON {
					return a.printJSON(map[string][]events.Rule{"rules": rules.Rules})
				}
				return printRules(seen(a.out), &rules)
			})
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

func tenantOf(args []string) events.TenantID {
	if len(args) == 0 {
		return sagas.DefaultTenant
	}
	return events.TenantID(args[0])
}

func printRules(out io.Writer, rules *api.Rules) error {
	if rules.Revision == events.NoRevision {
		fmt.Fprintf(out, "tenant %s has adopted no rules; these are the defaults:\n", rules.Tenant)
	} else {
		fmt.Fprintf(out, "rules of tenant %s, revision %d:\n", rules.Tenant, rules.Revision)
	}
	w := table(out)
	fmt.Fprintln(w, "RULE\tWHEN\tMODE")
	for i := range rules.Rules {
		r := &rules.Rules[i]
		when := r.Measure
		if r.AtLeast != nil {
			when += fmt.Sprintf(" ≥ %g", *r.AtLeast)
		}
		if r.AtMost != nil {
			when += fmt.Sprintf(" ≤ %g", *r.AtMost)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", events.Visible(r.Name), when, r.Mode)
	}
	return w.Flush()
}

func rulesAdoptCommand(a *app) *cobra.Command {
	tenant := ""
	asJSON := false
	cmd := &cobra.Command{
		Use:   "adopt FILE",
		Short: "Replace a tenant's homeostasis rules",
		Long: "Replace a tenant's homeostasis rules with those of a JSON file, a list of {\"name\", \"measure\", \"at_least\" or \"at_most\", \"mode\"}. They apply\n" +
			"to the tenant's agents from their next advice on; earlier advice stays as it was.",
		Example: "  life rules adopt rules.json\n  life rules adopt strict.json --tenant accounts",
		Args:    takes(1, 1, "one file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := readPrompt(args[0])
			if err != nil {
				return err
			}
			rules, err := actors.ReadRules([]byte(text))
			if err != nil {
				return usage("%s: %w", args[0], err)
			}
			return a.with(cmd.Context(), func(host reached) error {
				receipt, err := host.Do(cmd.Context(), events.HomeostasisStream(events.TenantID(tenant)), sagas.Adopt{Meta: newMeta(""), Rules: rules, By: a.person()}, origin())
				if err != nil {
					return err
				}
				if asJSON {
					return a.printJSON(receipt)
				}
				fmt.Fprintf(a.out, "tenant %s has adopted %d rules, revision %d\n", tenant, len(rules), receipt.Revision)
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&tenant, "tenant", string(sagas.DefaultTenant), "tenant that the rules belong to")
	jsonFlag(cmd, &asJSON)
	return cmd
}

func permissionsCommand(a *app) *cobra.Command {
	return group("permissions", "Show what the rules about calls of tools decide, and revoke remembered approvals",
		"  life permissions check -- 'git log; git push'\n  life permissions list\n  life permissions revoke agent-demo@12",
		storeless(aboutNone, permissionsCheckCommand(a)), storeless(aboutNone, permissionsListCommand(a)), storeless(aboutNone, permissionsValidateCommand(a)),
		permissionsRememberedCommand(a), permissionsRevokeCommand(a))
}

// checked is what life permissions check says of a call.
type checked struct {
	Tool string `json:"tool"`
	events.Finding
	Mode    events.PermissionMode `json:"mode,omitempty"`
	Verdict events.Verdict        `json:"verdict"`
	Because string                `json:"because,omitempty"`
}

func permissionsCheckCommand(a *app) *cobra.Command {
	tool, arguments, workspace, mode, asJSON := "bash", "", "", string(events.PermissionAsk), false
	cmd := &cobra.Command{
		Use:   "check -- COMMAND",
		Short: "Explain what would become of a command, or of another call",
		Long: "Explain what would become of a command: what each simple command in it is, which rule is about it, and what an agent in a permission mode\n" +
			"would do. Nothing is run. --tool and --arguments explain a call of another tool.",
		Example: "  life permissions check -- 'git log | head; git push'\n  life permissions check --permission-mode auto -- make test\n" +
			"  life permissions check --tool write_file --arguments '{\"path\": \".git/hooks/pre-push\"}'",
		RunE: func(cmd *cobra.Command, args []string) error {
			given := json.RawMessage(arguments)
			if arguments == "" {
				if len(args) == 0 {
					return usage("name a command line after --, or arguments with --arguments")
				}
				encoded, err := events.PlainJSON(map[string]string{"command": strings.Join(args, " ")})
				if err != nil {
					return err
				}
				given = encoded
			}
			dir, err := directory(workspace)
			if err != nil {
				return err
			}
			found, err := a.check(cmd.Context(), actors.ToJudge{Workspace: dir, Mode: events.PermissionMode(mode), Tool: tool, Arguments: given})
			if err != nil {
				return err
			}
			if asJSON {
				return a.printJSON(found)
			}
			return printChecked(seen(a.out), found)
		},
	}
	cmd.Flags().StringVar(&tool, "tool", tool, "tool that is called")
	cmd.Flags().StringVar(&arguments, "arguments", "", "its arguments, a JSON object")
	cmd.Flags().StringVar(&workspace, "workspace", "", "directory in which it would run (default: the current directory)")
	cmd.Flags().StringVar(&mode, "permission-mode", mode, "mode of the agent: plan, ask, accept-edits, auto or full")
	jsonFlag(cmd, &asJSON)
	return cmd
}

// check judges a call as a host would.
func (a *app) check(ctx context.Context, c actors.ToJudge) (*checked, error) {
	if err := sagas.ValidateMode(c.Mode); err != nil || c.Mode == "" {
		return nil, usage("--permission-mode is %q, want plan, ask, accept-edits, auto or full", c.Mode)
	}
	if canonical := sagas.CanonicalArguments(c.Arguments); canonical[0] != '{' {
		return nil, usage("--arguments: want a JSON object")
	}
	conf, err := a.config.permissions()
	if err != nil {
		return nil, usage("the rules about calls: %w", err)
	}
	commands, err := sandbox.New(a.config.sandbox)
	if err != nil {
		return nil, err
	}
	defer commands.Close()
	conf.Level = func(ctx context.Context) string { return commands.Probe(ctx).Level.String() }
	if c.Class, err = classOfTool(c.Tool, commands, conf.Files); err != nil {
		return nil, err
	}
	found, _ := permission.New(conf).Judge(ctx, c)
	result := &checked{Tool: c.Tool, Finding: found.Finding, Mode: c.Mode}
	result.Verdict, result.Because = found.Verdict(c.Mode)
	return result, nil
}

// classOfTool is the class of a tool's calls of which nothing else is known. What is no tool of this host's may be anything.
func classOfTool(name string, commands *sandbox.Sandbox, files *fspolicy.Policy) (events.CallClass, error) {
	known, err := tools.New(tools.Config{Blobs: struct{ storage.Blobs }{}, Commands: commands, Scratch: os.TempDir(), Policy: files}) // only to be asked what they are
	if err != nil {
		return "", err
	}
	for _, tool := range known {
		if spec := tool.Spec(); spec.Name == name {
			return sagas.ClassOf(spec.Risk), nil
		}
	}
	return sagas.ClassOf(events.RiskHigh), nil
}

func printChecked(out io.Writer, c *checked) error {
	w := table(out)
	for _, part := range c.Commands {
		why := part.Why
		if part.Rule != "" {
			why = string(part.Ruled) + " by " + part.Rule
		}
		fmt.Fprintf(w, "  %s\t%s\t%s\n", events.VisibleLine(part.Text), part.Class, events.VisibleLine(why))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if c.More > 0 {
		fmt.Fprintf(out, "  and %d more\n", c.More)
	}
	fmt.Fprintf(out, "it is of the class %s", c.Class)
	if c.Why != "" {
		fmt.Fprintf(out, ": %s", events.VisibleLine(c.Why))
	}
	fmt.Fprintf(out, "\nin mode %s: %s", c.Mode, c.Verdict)
	if c.Because != "" {
		fmt.Fprintf(out, ", because %s", events.VisibleLine(c.Because))
	}
	fmt.Fprintln(out)
	return nil
}

// listedRule is one rule as life permissions list shows it.
type listedRule struct {
	At       string           `json:"at"`
	Scope    permission.Scope `json:"scope"`
	Tool     string           `json:"tool"`
	Match    permission.Match `json:"match"`
	Decision events.Verdict   `json:"decision"`
	Reason   string           `json:"reason,omitempty"`
}

func listed(rules []permission.Rule) []listedRule {
	list := make([]listedRule, len(rules))
	for i, r := range rules {
		list[i] = listedRule{At: r.At, Scope: r.Scope, Tool: r.Tool, Match: r.Match, Decision: r.Decision, Reason: r.Reason}
	}
	return list
}

func printRulesOfCalls(out io.Writer, list []listedRule) error {
	w := table(out)
	fmt.Fprintln(w, "RULE\tSCOPE\tDECISION\tTOOL\tABOUT\tREASON")
	for _, r := range list {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", events.Visible(r.At), r.Scope, r.Decision, events.Visible(r.Tool), events.VisibleLine(r.Match.String()), events.VisibleLine(r.Reason))
	}
	return w.Flush()
}

func permissionsListCommand(a *app) *cobra.Command {
	workspace, asJSON := "", false
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the rules about calls of tools",
		Long:    "List the rules about calls that hold in a workspace: the administrator's, the user's and the project's.",
		Example: "  life permissions list\n  life permissions list --workspace ws --json",
		Args:    takes(0, 0, "no argument"),
		RunE: func(*cobra.Command, []string) error {
			conf, err := a.config.permissions()
			if err != nil {
				return usage("the rules about calls: %w", err)
			}
			dir, err := directory(workspace)
			if err != nil {
				return err
			}
			own, _, err := permission.ReadProject(dir, slices.Contains(conf.Trusted, dir))
			if err != nil {
				return usage("the project's rules: %w", err)
			}
			list := listed(slices.Concat(conf.Rules, own))
			if asJSON {
				return a.printJSON(map[string][]listedRule{"rules": list})
			}
			return printRulesOfCalls(seen(a.out), list)
		},
	}
	cmd.Flags().StringVar(&workspace, "workspace", "", "directory whose own rules are listed too (default: the current directory)")
	jsonFlag(cmd, &asJSON)
	return cmd
}

func permissionsRememberedCommand(a *app) *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use:     "remembered AGENT",
		Short:   "List the approvals that an agent remembers",
		Long:    "List the approvals that an agent remembers: the same call runs without another one, until the approval expires or is revoked.",
		Example: "  life permissions remembered demo",
		Args:    takes(1, 1, "the name of one agent"),
		RunE: func(cmd *cobra.Command, args []string) error {
			agent, err := checkAgent(args[0])
			if err != nil {
				return err
			}
			return a.with(cmd.Context(), func(host reached) error {
				state, err := host.State(cmd.Context(), agent, events.NoRevision)
				if err != nil {
					return err
				}
				remembered := slices.Concat([]sagas.Remembered{}, state.Agent.Remembered)
				if asJSON {
					return a.printJSON(map[string][]sagas.Remembered{"remembered": remembered})
				}
				w := table(seen(a.out))
				fmt.Fprintln(w, "APPROVAL\tSCOPE\tEXPIRES\tBY\tCALL")
				for _, r := range remembered {
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", r.At, r.Scope, clock(r.Expires), events.Visible(r.By), events.VisibleLine(r.Tool+" "+r.Text))
				}
				return w.Flush()
			})
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

func permissionsValidateCommand(a *app) *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use:     "validate FILE",
		Short:   "Read a file of rules about calls, and run its tests",
		Long:    "Read a file of rules about calls, and run the tests of each rule. The first rule that is malformed, or of which a test fails, is named with its line.",
		Example: "  life permissions validate permissions.yaml",
		Args:    takes(1, 1, "one file"),
		RunE: func(_ *cobra.Command, args []string) error {
			rules, err := permission.ReadFile(args[0], permission.ScopeUser)
			if err != nil {
				return usage("%w", err)
			}
			if asJSON {
				return a.printJSON(map[string][]listedRule{"rules": listed(rules)})
			}
			return printRulesOfCalls(seen(a.out), listed(rules))
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

func permissionsRevokeCommand(a *app) *cobra.Command {
	var f idFlags
	reason := ""
	cmd := &cobra.Command{
		Use:     "revoke APPROVAL",
		Short:   "Revoke a remembered approval",
		Long:    "Revoke an approval that an agent remembers. APPROVAL is as life permissions remembered shows it. The call waits for approval the next time it is made.",
		Example: "  life permissions revoke agent-demo@12 --reason \"the release is out\"",
		Args:    takes(1, 1, "one remembered approval"),
		RunE: func(cmd *cobra.Command, args []string) error {
			stream, _, err := events.Ref(args[0]).Split()
			if _, is := stream.Agent(); err != nil || !is {
				return usage("%q is no remembered approval: life permissions remembered AGENT shows them, such as agent-demo@12", args[0])
			}
			return a.with(cmd.Context(), func(host reached) error {
				receipt, err := host.Do(cmd.Context(), stream, sagas.Revoke{Meta: newMeta(f.id), Remembered: events.Ref(args[0]), By: a.person(), Reason: reason}, origin())
				if err != nil {
					return err
				}
				return a.printReceipt(receipt, f.asJSON)
			})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "the reason, which history shows")
	f.add(cmd)
	return cmd
}
