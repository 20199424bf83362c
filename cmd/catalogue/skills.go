package catalogue

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"example.com/life/adapters/skills"
	"example.com/life/events"
)

// ListSkills returns life skills list.
func (c *Command) ListSkills() *cobra.Command {
	asJSON, workspace := false, ""
	cmd := &cobra.Command{
		Use:   "list [DIR …]",
		Short: "List the skills in directories, and what is wrong with them",
		Long: "List the skills in the directories, or, without any, the person's own: ~/.agents/skills and ~/.claude/skills. --workspace adds those of a\n" +
			"workspace. An agent is offered them if it is told where to look: life run --skills user,DIR. Those of its workspace, which whoever wrote\n" +
			"it may have put there, only with --skills workspace.",
		Example: "  life skills list\n  life skills list --workspace .\n  life skills list ./skills --json",
		Args:    c.Takes(0, -1, "directories"),
		RunE: func(_ *cobra.Command, args []string) error {
			roots, err := roots(args, workspace)
			if err != nil {
				return err
			}
			found, problems := skills.Find(roots)
			if asJSON {
				return c.JSON(map[string]any{"skills": found, "problems": list(problems)})
			}
			return c.printSkills(found, problems)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().StringVar(&workspace, "workspace", "", "also those of this workspace")
	return cmd
}

// roots are where the verbs look.
func roots(dirs []string, workspace string) ([]skills.Root, error) {
	var roots []skills.Root
	for _, dir := range dirs {
		abs, err := filepath.Abs(dir)
		if err != nil {
			return nil, fmt.Errorf("look for skills: %w", err)
		}
		roots = append(roots, skills.Root{Dir: abs, Scope: skills.ScopeGiven})
	}
	if len(dirs) == 0 {
		home, err := os.UserHomeDir()
		if err != nil {
			return nil, fmt.Errorf("look for your own skills: %w; name directories instead", err)
		}
		roots = skills.UserRoots(home)
	}
	if workspace != "" {
		abs, err := filepath.Abs(workspace)
		if err != nil {
			return nil, fmt.Errorf("look for skills: %w", err)
		}
		roots = append(roots, skills.WorkspaceRoots(abs)...)
	}
	return roots, nil
}

func (c *Command) printSkills(found []skills.Skill, problems []skills.Problem) error {
	if len(found) == 0 {
		fmt.Fprintln(c.Note(), "no skill found")
	} else {
		w := c.Columns()
		fmt.Fprintln(w, "skill\tscope\tdescription\tfile")
		for i := range found {
			s := &found[i]
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", s.Name, s.Scope, events.Clip(s.Description, 80), s.File)
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	for _, p := range problems {
		fmt.Fprintln(c.Note(), p)
	}
	return nil
}

// ShowSkill returns life skills show.
func (c *Command) ShowSkill() *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use:     "show DIR",
		Short:   "Show what an agent reads when it activates a skill",
		Example: "  life skills show ~/.agents/skills/pdf",
		Args:    c.Takes(1, 1, "the directory of one skill"),
		RunE: func(_ *cobra.Command, args []string) error {
			s, problems := skills.Open(args[0])
			for _, p := range problems {
				fmt.Fprintln(c.Note(), p)
			}
			if s == nil {
				return fmt.Errorf("%s holds no skill that can be used", args[0])
			}
			if asJSON {
				return c.JSON(map[string]any{"skill": s, "text": s.Body, "problems": list(problems)})
			}
			text, err := s.Content()
			if err == nil {
				_, err = fmt.Fprintln(c.Print(), text)
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// ErrInvalid is why life skills validate fails: what it looked at is not as it should be.
var ErrInvalid = errors.New("not as the specification wants it")

// ValidateSkills returns life skills validate.
func (c *Command) ValidateSkills() *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use:   "validate DIR …",
		Short: "Check skills against the specification",
		Long: "Check skills, or whole directories of them, against the specification (https://agentskills.io/specification). An agent is offered what is\n" +
			"merely invalid all the same; what is an error is never offered. The verb fails if there is either.",
		Example: "  life skills validate ./skills/pdf\n  life skills validate ./skills --json",
		Args:    c.Takes(1, -1, "directories"),
		RunE: func(_ *cobra.Command, args []string) error {
			checked, problems := 0, []skills.Problem(nil)
			for _, dir := range args {
				abs, err := filepath.Abs(dir)
				if err != nil {
					return fmt.Errorf("look for skills: %w", err)
				}
				found, said := skills.Find([]skills.Root{{Dir: abs, Scope: skills.ScopeGiven}})
				if len(found) == 0 && len(said) == 0 || strings.EqualFold(filepath.Base(abs), skills.FileName) {
					var s *skills.Skill
					if s, said = skills.Open(abs); s != nil {
						found = []skills.Skill{*s}
					}
				}
				checked += len(found)
				problems = append(problems, said...)
			}
			if asJSON {
				if err := c.JSON(map[string]any{"usable": checked, "valid": skills.Valid(problems), "problems": list(problems)}); err != nil {
					return err
				}
			} else {
				for _, p := range problems {
					fmt.Fprintln(c.Print(), p)
				}
			}
			if !skills.Valid(problems) {
				return fmt.Errorf("%w; %d of the skills can be used", ErrInvalid, checked)
			}
			if !asJSON {
				fmt.Fprintf(c.Print(), "%d valid\n", checked)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// list is never null.
func list(problems []skills.Problem) []skills.Problem {
	return append([]skills.Problem{}, problems...)
}
