package cmd

import (
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"example.com/life/events"
	"example.com/life/sagas"
)

// maxPrompt bounds a prompt file, in bytes.
const maxPrompt = 1 << 20

// agentFlags are the flags that configure an agent.
type agentFlags struct {
	workspace, promptFile, wallet string
	ask, deny                     []string
	onLost, onLimit               string
	mode, onAsk                   string
	flags                         *pflag.FlagSet
	once                          bool
	recall                        int64
	recallNotes                   int
	near                          []string
	masking                       string
	compaction                    events.Compaction
	editor                        events.Editor
	secrets                       []string
	skills, servers               []string

	rounds, calls, errors, queue int
	tokens, context, reply       int64
	money, reserve               string
	time, approval               time.Duration
}

func (f *agentFlags) add(cmd *cobra.Command) {
	flags := pflag.NewFlagSet("agent", pflag.ContinueOnError)
	defer func() { cmd.Flags().AddFlagSet(flags) }()
	f.flags = flags
	flags.StringVar(&f.workspace, "workspace", "", "directory that the agent's file tools are confined to (default: the current directory)")
	flags.StringVar(&f.promptFile, "prompt-file", "", "file with the system prompt")
	flags.StringVar(&f.wallet, "wallet", "", "wallet that pays for the agent (default: main)")
	flags.StringSliceVar(&f.ask, "ask", nil, `tools whose calls wait for approval; "*": every tool, none: no tool (default: bash, unless the model is scripted)`)
	flags.StringSliceVar(&f.deny, "deny", nil, `tools whose calls are refused; "*": every tool`)
	flags.StringVar(&f.onLost, "on-lost", "", "what to do when the effect of a call is unknown: ask a person, tell the model, or end the turn (default: ask)")
	flags.StringVar(&f.onLimit, "on-limit", "", "what to do when a turn reaches its token or money limit: ask or end (default: ask)")
	flags.StringVar(&f.mode, "permission-mode", "", "what becomes of calls that no rule decides: plan (only what changes nothing runs), ask (the rest waits for approval), accept-edits (edits run too), auto (confined commands run too), full (everything; see --allow-full), none: --ask alone says it (default: none)")
	flags.StringVar(&f.onAsk, "on-ask", "", "what to do with a call that needs approval: wait, or deny it at once because nobody is there (default: wait)")
	flags.Int64Var(&f.recall, "recall-tokens", 0, "start each turn with notes relevant to its messages, up to this many tokens (0: no recall)")
	flags.IntVar(&f.recallNotes, "recall-notes", 0, "maximum number of recalled notes (default: 8)")
	flags.StringSliceVar(&f.near, "recall-near", nil, "prefer notes near these")
	flags.StringVar(&f.masking, "masking", "", "secrets to mask before anything is stored or shown: known (what the host knows), shapes (credentials of well-known shape too), strict (guesses by name too) (default: shapes)")
	flags.StringSliceVar(&f.secrets, "use-secrets", nil, "secrets of the host, see --secrets, that the agent's commands may be given; none: no secret")
	flags.StringSliceVar(&f.skills, "skills", nil, "where to look for skills (life skills list): user (~/.agents/skills, ~/.claude/skills), workspace (its own: trust whoever wrote it), directories; none: no skill")
	flags.StringSliceVar(&f.servers, "mcp", nil, "MCP servers of the configuration file (key mcp) whose tools the agent is granted too; none: no server")
	flags.StringVar((*string)(&f.compaction.Mode), "compaction", "", "what to do when the conversation outgrows the window: summarise (a model's summary replaces the oldest rounds), drop (they are left out), off (each request leaves out what does not fit) (default: summarise)")
	flags.IntVar(&f.compaction.At, "compact-at", 0, "percent of the window at which the conversation is compacted (default: 80)")
	flags.Int64Var(&f.compaction.Keep, "compact-keep-tokens", 0, "tokens of the newest rounds that stay as they are (default: half of --compact-at)")
	flags.StringVar(&f.compaction.Model, "compact-model", "", "model that writes the summaries (default: the agent's own)")
	flags.StringVar((*string)(&f.editor), "editor", "", "how it edits files: hashline (edit_file takes the anchors of lines that read_file shows), str_replace (by their text) or both (default: as the table of models says)")
	flags.IntVar(&f.rounds, "limit-rounds", 0, "maximum model calls in a turn")
	flags.Int64Var(&f.tokens, "limit-tokens", 0, "maximum tokens in a turn")
	flags.StringVar(&f.money, "limit-money", "", "dollars that a turn may cost")
	flags.StringVar(&f.reserve, "limit-reserve", "", "dollars to reserve from the wallet at a time")
	flags.DurationVar(&f.time, "limit-time", 0, "maximum time of a turn, without the time spent waiting for people")
	flags.IntVar(&f.calls, "limit-tool-calls", 0, "maximum tool calls in a turn")
	flags.IntVar(&f.errors, "limit-errors", 0, "consecutive failures that end a turn")
	flags.Int64Var(&f.context, "limit-context-tokens", 0, "maximum tokens of conversation sent to the model")
	flags.Int64Var(&f.reply, "limit-reply-tokens", 0, "maximum tokens of one reply")
	flags.IntVar(&f.queue, "limit-queue", 0, "maximum number of waiting messages")
	flags.DurationVar(&f.approval, "limit-approval-time", 0, "time after which an unanswered approval counts as denied")
}

// given returns the flags of the command line that configure the agent.
func (f *agentFlags) given(cmd *cobra.Command) (given []string) {
	f.flags.AddFlag(cmd.Flags().Lookup("model"))
	f.flags.AddFlag(cmd.Flags().Lookup("tools"))
	f.flags.AddFlag(cmd.Flags().Lookup("think"))
	f.flags.VisitAll(func(flag *pflag.Flag) {
		if flag.Changed {
			given = append(given, "--"+flag.Name+" "+quote(flag.Value.String()))
		}
	})
	return given
}

// apply lays the flags over a configuration. A new agent also takes what is configured for new agents, and this directory.
func (f *agentFlags) apply(a *app, cmd *cobra.Command, c *events.AgentConfig, fresh bool) error {
	changed := func(name string) bool { return cmd.Flags().Changed(name) }
	if fresh {
		c.Once = f.once
	}
	if fresh || changed("model") {
		c.Model = a.config.get("model")
	}
	if c.Model == "" {
		return noModel()
	}
	if fresh || changed("tools") {
		if tools := grants(a.config.get("tools")); !slices.EqualFunc(tools, c.Tools, sameTool) {
			c.Tools = tools
		}
	}
	if fresh || changed("think") {
		thinking, err := parseThinking(a.config.get("think"))
		if err != nil {
			return err
		}
		c.Thinking = thinking
	}
	if fresh || changed("workspace") {
		workspace, err := directory(f.workspace)
		if err != nil {
			return err
		}
		c.Workspace = workspace
	}
	if changed("prompt-file") {
		prompt, err := readPrompt(f.promptFile)
		if err != nil {
			return err
		}
		c.Prompt = prompt
	}
	if changed("wallet") {
		c.Wallet = events.WalletID(f.wallet)
	}
	if err := f.policy(cmd, c, fresh); err != nil {
		return err
	}
	if changed("editor") {
		c.Editor = f.editor
	}
	if changed("masking") {
		c.Masking = events.MaskingLevel(f.masking)
	}
	if changed("use-secrets") {
		if c.Secrets = f.secrets; slices.Equal(f.secrets, []string{"none"}) {
			c.Secrets = nil
		}
	}
	if changed("skills") {
		from, err := skillSources(f.skills)
		if err != nil {
			return err
		}
		c.Skills.From = from
	}
	if changed("mcp") {
		if c.MCP.Servers = f.servers; slices.Equal(f.servers, []string{"none"}) {
			c.MCP.Servers = nil
		}
	}
	f.knowledge(cmd, &c.Knowledge)
	f.compact(cmd, &c.Compaction)
	return f.limits(cmd, &c.Limits)
}

// policy lays over what an agent may do what was given.
func (f *agentFlags) policy(cmd *cobra.Command, c *events.AgentConfig, fresh bool) error {
	changed := func(name string) bool { return cmd.Flags().Changed(name) }
	switch {
	case changed("ask") && slices.Equal(f.ask, []string{"none"}):
		c.Policy.Ask = nil
	case changed("ask"):
		c.Policy.Ask = f.ask
	case fresh && !strings.HasPrefix(c.Model, "scripted/") && f.mode == "":
		c.Policy.Ask = []string{"bash"} // what a model thinks of is looked at first
	case f.mode != "" && c.Policy.Mode == "" && slices.Equal(c.Policy.Ask, []string{"bash"}):
		c.Policy.Ask = nil // the mode says it now
	}
	if changed("permission-mode") {
		if c.Policy.Mode = events.PermissionMode(f.mode); f.mode == "none" {
			c.Policy.Mode = ""
		}
	}
	if changed("on-ask") {
		c.Policy.OnAsk = events.OnAsk(f.onAsk)
	}
	if changed("deny") {
		c.Policy.Deny = f.deny
	}
	for _, name := range []string{"ask", "deny"} {
		list := map[string][]string{"ask": c.Policy.Ask, "deny": c.Policy.Deny}[name]
		if err := granted(name, list, c.Tools); err != nil && changed(name) {
			return err
		}
	}
	if changed("on-lost") {
		c.Policy.OnLost = events.OnLost(f.onLost)
	}
	if changed("on-limit") {
		c.Policy.OnLimit = events.OnLimit(f.onLimit)
	}
	return nil
}

// parseThinking reads how much a model is to think.
func parseThinking(text string) (events.Thinking, error) {
	switch effort := events.Effort(text); effort {
	case "", "default":
		return events.Thinking{}, nil
	case events.EffortOff, events.EffortLow, events.EffortMedium, events.EffortHigh:
		return events.Thinking{Effort: effort}, nil
	}
	budget, err := strconv.ParseInt(text, 10, 64)
	if err != nil || budget <= 0 {
		return events.Thinking{}, usage("think is %q, want off, low, medium, high, default, or a number of tokens", text)
	}
	return events.Thinking{Budget: budget}, nil
}

// noModel says how to get a model.
func noModel() error {
	return usage("no model is set, and there is no API key in the environment. Choose one:\n" +
		"  life demo                                    watch a scripted agent; it needs no key and costs nothing\n" +
		"  --model scripted/NAME --scripts DIR          a script of your own; --model scripted/echo repeats what it reads\n" +
		"  export OPENAI_API_KEY=…                      the models of OpenAI, as openai/NAME or openai-responses/NAME (or OPENAI_API_KEY_FILE)\n" +
		"  export ANTHROPIC_API_KEY=…                   the models of Anthropic, as anthropic/NAME (or ANTHROPIC_API_KEY_FILE)\n" +
		"  export OPENAI_BASE_URL=http://HOST:PORT/v1   any endpoint of that protocol, such as a local one: --model openai/NAME\n" +
		"--model, LIFE_MODEL or model: in the configuration file set it; life doctor shows what is in effect")
}

// knowledge lays over what is recalled what was given.
func (f *agentFlags) knowledge(cmd *cobra.Command, c *events.KnowledgeConfig) {
	for name, set := range map[string]func(){
		"recall-tokens": func() { c.Tokens = f.recall },
		"recall-notes":  func() { c.Notes = f.recallNotes },
		"recall-near": func() {
			c.Near = nil
			for _, note := range f.near {
				c.Near = append(c.Near, events.NoteID(note))
			}
		},
	} {
		if cmd.Flags().Changed(name) {
			set()
		}
	}
}

// compact lays over what becomes of a long conversation what was given.
func (f *agentFlags) compact(cmd *cobra.Command, c *events.Compaction) {
	for name, set := range map[string]func(){
		"compaction":          func() { c.Mode = f.compaction.Mode },
		"compact-at":          func() { c.At = f.compaction.At },
		"compact-keep-tokens": func() { c.Keep = f.compaction.Keep },
		"compact-model":       func() { c.Model = f.compaction.Model },
	} {
		if cmd.Flags().Changed(name) {
			set()
		}
	}
}

// limits lays the limits that were given over others.
func (f *agentFlags) limits(cmd *cobra.Command, l *events.Limits) error {
	for name, set := range map[string]func() error{
		"limit-rounds":         func() error { l.Rounds = f.rounds; return nil },
		"limit-tokens":         func() error { l.Tokens = f.tokens; return nil },
		"limit-money":          func() error { return setMoney(&l.Money, f.money) },
		"limit-reserve":        func() error { return setMoney(&l.Reserve, f.reserve) },
		"limit-time":           func() error { l.Time = micros(f.time); return nil },
		"limit-tool-calls":     func() error { l.ToolCalls = f.calls; return nil },
		"limit-errors":         func() error { l.Errors = f.errors; return nil },
		"limit-context-tokens": func() error { l.ContextTokens = f.context; return nil },
		"limit-reply-tokens":   func() error { l.ReplyTokens = f.reply; return nil },
		"limit-queue":          func() error { l.Queue = f.queue; return nil },
		"limit-approval-time":  func() error { l.ApprovalTime = micros(f.approval); return nil },
	} {
		if !cmd.Flags().Changed(name) {
			continue
		}
		if err := set(); err != nil {
			return usage("--%s: %w", name, err)
		}
	}
	return nil
}

func setMoney(m *events.Money, text string) error {
	amount, err := events.ParseMoney(text)
	*m = amount
	return err
}

func micros(d time.Duration) events.Micros { return events.Micros(d.Microseconds()) }

// grants names tools; the host knows their risks.
func grants(list string) []events.ToolGrant {
	var tools []events.ToolGrant
	for _, name := range strings.Split(list, ",") {
		if name = strings.TrimSpace(name); name != "" && list != "none" {
			tools = append(tools, events.ToolGrant{Name: name})
		}
	}
	return tools
}

// granted refuses a policy about a tool that the agent does not have: misspelt, it would let the one that is meant run.
func granted(flag string, names []string, tools []events.ToolGrant) error {
	var known []string
	for i := range tools {
		known = append(known, tools[i].Name)
	}
	for _, name := range names {
		if name != "*" && !strings.HasPrefix(name, "mcp__") && !slices.Contains(known, name) {
			return usage("--%s names %q, which is not one of the agent's tools: %s", flag, name, strings.Join(known, ", "))
		}
	}
	return nil
}

// skillSources are where an agent's skills come from.
func skillSources(given []string) (from []string, err error) {
	for _, source := range given {
		switch source {
		case "none":
			continue
		case sagas.SkillsOfUser, sagas.SkillsOfWorkspace:
		default:
			if source, err = directory(source); err != nil {
				return nil, fmt.Errorf("--skills: %w", err)
			}
		}
		from = append(from, source)
	}
	return from, nil
}

func sameTool(a, b events.ToolGrant) bool { return a.Name == b.Name }

// directory is an existing directory's absolute path; empty means this one.
func directory(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", usage("the workspace must exist: %w", err)
	}
	if !info.IsDir() {
		return "", usage("the workspace %s is not a directory", path)
	}
	return path, nil
}

func readPrompt(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", usage("read the prompt: %w", err)
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxPrompt+1))
	if err != nil {
		return "", fmt.Errorf("read the prompt: %w", err)
	}
	if len(text) > maxPrompt {
		return "", usage("the prompt %s is larger than %d bytes", path, maxPrompt)
	}
	return string(text), nil
}

// argument is a message from the command line, or from a reader when it is "-".
func argument(text string, in io.Reader) (string, error) {
	if text != "-" {
		return text, checkText(text)
	}
	read, err := io.ReadAll(io.LimitReader(in, maxMessage+1))
	if err != nil {
		return "", fmt.Errorf("read the message: %w", err)
	}
	if len(read) > maxMessage {
		return "", usage("the message is larger than %d bytes", maxMessage)
	}
	return strings.TrimSuffix(string(read), "\n"), checkText(string(read))
}

// checkText refuses what is no UTF-8: stored as text it would silently be another text.
func checkText(text string) error {
	if utf8.ValidString(text) {
		return nil
	}
	at := 0
	for _, r := range text {
		if r == utf8.RuneError && !strings.HasPrefix(text[at:], string(utf8.RuneError)) {
			break
		}
		at += utf8.RuneLen(r)
	}
	return usage("the message is not valid UTF-8 (byte %d); convert it with iconv -t UTF-8", at)
}

// maxMessage bounds a message, in bytes; it leaves room for its escapes in the API's own limit.
const maxMessage = 4 << 20

// revisionFlag reads a revision; empty is the end.
func revisionFlag(name, text string) (events.Revision, error) {
	if text == "" {
		return events.NoRevision, nil
	}
	var revision int64
	if n, err := fmt.Sscanf(text, "%d", &revision); n != 1 || err != nil || fmt.Sprint(revision) != text || revision < 0 || revision == math.MaxInt64 {
		return events.NoRevision, usage("--%s is %q: a revision is a number from 0", name, text)
	}
	return events.Revision(revision), nil
}

func checkAgent(agent string) (events.AgentID, error) {
	id := events.AgentID(agent)
	if err := id.Validate(); err != nil {
		return "", &exit{exitUsage, err}
	}
	return id, nil
}

func checkVerb(verb string) (events.Verb, error) {
	verbs := []events.Verb{events.Collect, events.Followup, events.Steer, events.Interrupt}
	if !slices.Contains(verbs, events.Verb(verb)) {
		return "", usage("--as is %q: it is collect, followup, steer or interrupt", verb)
	}
	return events.Verb(verb), nil
}
