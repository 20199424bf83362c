package cmd

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"

	"example.com/life/adapters/fspolicy"
	"example.com/life/adapters/mcp"
	"example.com/life/adapters/network"
	"example.com/life/adapters/permission"
	"example.com/life/adapters/providers"
	"example.com/life/adapters/providers/endpoint"
	"example.com/life/adapters/sandbox"
	"example.com/life/adapters/secrets"
	"example.com/life/cmd/stores"
	"example.com/life/cmd/vault"
	"example.com/life/events"
	"example.com/life/sagas"
	"example.com/life/sagas/cluster"
)

// setting is one thing that can be configured: by a flag, else by its environment variable, else in the configuration file,
// else it has its default value. A key of the file is the flag's name with underscores.
type setting struct {
	flag         string
	env          string
	defaultValue string
	description  string
	secret       bool // in the environment only: command lines and files are read by others
	host         bool // of the process that hosts agents: a verb that uses a running life serve cannot change it
	serve        bool // a flag of life serve alone
	list         bool // the flag may be repeated
}

// settings lists them. It is the only list.
func settings() []setting {
	return []setting{
		{flag: "data", env: "LIFE_DATA", description: "data directory"},
		{flag: "store", env: "LIFE_STORE", defaultValue: stores.InData, description: "event store: embedded (in the data directory), or the address of an EventStoreDB, as esdb://HOST:PORT"},
		{flag: "store-credentials-file", env: "LIFE_STORE_CREDENTIALS_FILE", description: "file with user:password for EventStoreDB"},
		{flag: "cluster", env: "LIFE_CLUSTER", description: "name of the cluster of hosts that life serve joins, and that life cluster is about"},
		{flag: "peer", env: "LIFE_PEER", description: "with --cluster: address for the other hosts, HOST:PORT as they reach it", serve: true},
		{flag: "peer-name", env: "LIFE_PEER_NAME", description: "with --cluster: name of this host, which its certificate is for; default: the machine's", serve: true},
		{flag: "peer-certs", env: "LIFE_PEER_CERTS", description: "with --cluster: directory that life cluster certificates made", serve: true},
		{flag: "zone", env: "LIFE_ZONE", description: "with --cluster: what fails together with this host", serve: true},
		{flag: "label", env: "LIFE_LABEL", description: "with --cluster: NAME=VALUE that agents can be pinned to, comma separated", serve: true, list: true},
		{flag: "roles", env: "LIFE_ROLES", defaultValue: cluster.RoleProjections, description: "with --cluster: what this host does besides holding agents: projections, or none", serve: true, list: true},
		{flag: "weight", env: "LIFE_WEIGHT", defaultValue: "100", description: "with --cluster: this host's share of the agents, compared with the others'; 0: only what is pinned to it", serve: true},
		{flag: "silent", env: "LIFE_SILENT", defaultValue: "1s", description: "with --cluster: a host that does not answer for so long is held for dead", serve: true},
		{flag: "fence", env: "LIFE_FENCE", defaultValue: "5s", description: "with --cluster: calls that a dead host began are lost after so long; the same on all hosts", serve: true},
		{flag: "handover", env: "LIFE_HANDOVER", defaultValue: "30s", description: "with --cluster: an agent that moves waits for its model's reply for so long", serve: true},
		{flag: "max-live", env: "LIFE_MAX_LIVE", defaultValue: "0", description: "with --cluster: agents, wallets and so on in memory at most; 0: any number", serve: true},
		{flag: "shared-workspaces", env: "LIFE_SHARED_WORKSPACES", description: "with --cluster: directories that are the same on all hosts that name them, comma separated", serve: true, list: true},
		{flag: "join-older", env: "LIFE_JOIN_OLDER", defaultValue: "false", description: "with --cluster: join although another host reads newer events", serve: true},
		{flag: "model", env: "LIFE_MODEL", description: "model of new agents, as provider/model or route/NAME; an endpoint of the configuration file is a provider too"},
		{flag: "tools", env: "LIFE_TOOLS", defaultValue: "read_file,write_file,edit_file,list_dir,glob,grep,bash", description: "tools of new agents, comma separated; none: no tools"},
		{flag: "think", env: "LIFE_THINK", description: "how much the models of new agents think: off, low, medium, high, or at most that many tokens; default: as the model does by itself"},
		{flag: "listen", env: "LIFE_LISTEN", defaultValue: "127.0.0.1:4777", description: "address of life serve", host: true},
		{flag: "commands", env: "LIFE_COMMANDS", defaultValue: string(sagas.DefaultTenant), description: "tenants whose bus commands life serve executes, comma separated; none: no tenant", host: true},
		{flag: "token-file", env: "LIFE_TOKEN_FILE", description: "file with the bearer token that clients of life serve must send", host: true},
		{flag: "scripts", env: "LIFE_SCRIPTS", description: "directory of scripts for the models scripted/NAME", host: true},
		{flag: "prices", env: "LIFE_PRICES", description: "file of prices that override the built-in ones", host: true},
		{flag: "credit", env: "LIFE_CREDIT", defaultValue: "10", description: "opening balance of the wallet main, in dollars", host: true},
		{flag: "record", env: "LIFE_RECORD", defaultValue: defaultRecord, description: "limits for recording workspaces: number of files, size of one file, size of all files; none: do not record", host: true},
		{flag: "ignore", env: "LIFE_IGNORE", defaultValue: defaultIgnore, description: "names of the files that say, as .gitignore does, what of a workspace is not searched or recorded, comma separated; none: no rules", host: true},
		{flag: "files-deny", env: "LIFE_FILES_DENY", description: "patterns of what file tools and commands reach in no workspace, comma separated; write:PATTERN may be read", host: true},
		{flag: "files-allow", env: "LIFE_FILES_ALLOW", description: "patterns of what they reach although a built-in rule protects it, comma separated; read:PATTERN may only be read", host: true},
		{flag: "sandbox-mode", env: "LIFE_SANDBOX_MODE", defaultValue: string(sandbox.ModeAuto), description: "what confines commands: auto (the best that works here), ns, landlock, or off (nothing does)", host: true},
		{flag: "sandbox-min-level", env: "LIFE_SANDBOX_MIN_LEVEL", defaultValue: "1", description: "the level below which no command is run: 1 (Landlock) or 3 (namespaces)", host: true},
		{flag: "sandbox-read", env: "LIFE_SANDBOX_READ", description: "files and directories that commands may read, besides the system's and those of PATH, comma separated", host: true},
		{flag: "sandbox-net", env: "LIFE_SANDBOX_NET", description: "what commands and web_fetch may reach: example.com, *.example.com, example.com:8443, 127.0.0.1:8080, comma separated", host: true},
		{flag: "permissions", env: "LIFE_PERMISSIONS", description: "file of rules about calls of tools, besides permission_rules in the configuration file", host: true},
		{flag: "allow-full", env: "LIFE_ALLOW_FULL", defaultValue: "no", description: "yes: agents may have the permission mode full, in which nothing is asked", host: true},
		{flag: "trusted-workspaces", env: "LIFE_TRUSTED_WORKSPACES", description: "directories whose own rules, in .life/permissions.yaml, may allow calls, comma separated", host: true},
		{flag: "cassette", env: "LIFE_CASSETTE", description: "record or play: record the responses of models, or play them back", host: true},
		{flag: "cassette-dir", env: "LIFE_CASSETTE_DIR", description: "directory of the recordings", host: true},
		{flag: "secrets", env: "LIFE_SECRETS", description: "secrets that tools may be given, comma separated: NAME is an environment variable of the host, NAME=FILE the content of a file"},
		{flag: "log-level", env: "LIFE_LOG_LEVEL", defaultValue: "warn", description: "debug, info, warn or error"},
		{flag: "openai-base-url", env: providers.EnvOpenAIBaseURL, description: "base URL of the models openai/NAME and openai-responses/NAME", host: true},
		{flag: "openai-api-key-file", env: providers.EnvOpenAIKeyFile, description: "file with the API key of that endpoint", host: true},
		{flag: "anthropic-base-url", env: providers.EnvAnthropicBaseURL, description: "base URL of the models anthropic/NAME, without /v1", host: true},
		{flag: "anthropic-api-key-file", env: providers.EnvAnthropicKeyFile, description: "file with the API key of that endpoint", host: true},
		{
			flag: "model-first-byte", env: endpoint.EnvFirstByte, defaultValue: endpoint.DefaultFirstByte.String(),
			description: "how long a model may take to begin its reply, such as 15m",
		},
		{flag: "model-silence", env: endpoint.EnvIdle, defaultValue: endpoint.DefaultIdle.String(), description: "how long a model may pause within its reply"},
		{flag: "openai-api-key", env: providers.EnvOpenAIKey, description: "the key itself", secret: true},
		{flag: "anthropic-api-key", env: providers.EnvAnthropicKey, description: "the key itself", secret: true},
	}
}

// renamed returns what a flag of a former name is called now. Former names are refused with the name that they have now, as are the variables and the keys of the
// configuration file that go by the same names.
func renamed(flag string) (now string, was bool) {
	switch flag {
	case "tape", "tape-dir": // a fork's --tape is another flag
		return strings.Replace(flag, "tape", "cassette", 1), true
	}
	return "", false
}

// checkVariables refuses variables of the environment that went by other names.
func checkVariables(getenv func(string) string) error {
	for _, former := range []string{"LIFE_TAPE", "LIFE_TAPE_DIR"} {
		if getenv(former) != "" {
			return fmt.Errorf("the variable %s is called %s now", former, strings.Replace(former, "TAPE", "CASSETTE", 1))
		}
	}
	return nil
}

func (s setting) key() string { return strings.ReplaceAll(s.flag, "-", "_") }

// help is what a flag's help says.
func (s setting) help() string {
	text := s.description + " (" + s.env
	if s.defaultValue != "" {
		text += ", default " + s.defaultValue
	}
	return text + ")"
}

func addSettingFlags(root *cobra.Command) {
	root.PersistentFlags().String("config", "", "configuration file (YAML)")
	for _, s := range settings() {
		if !s.secret && !s.serve {
			root.PersistentFlags().String(s.flag, "", s.help())
		}
	}
}

// effective is a setting's value and where it came from.
type effective struct {
	setting
	value  string
	source string
}

// config is what is in effect.
type config struct {
	file    string // the configuration file that was read; empty: none
	values  []effective
	level   slog.Level
	credit  events.Money
	models  providers.Config
	routes  map[string][]events.Candidate
	record  record
	ignore  []string // names of files of rules
	files   *fspolicy.Policy
	sandbox sandbox.Config
	rules   *yaml.Node        // of the configuration file, about calls
	servers []mcp.Server      // that agents can be granted the tools of
	tenants []events.TenantID // whose commands on the bus are carried out
}

// configure finds out what is in effect and opens the log.
func (a *app) configure(cmd *cobra.Command) error {
	c, err := resolve(a.getenv, func(flag string) (string, bool) {
		f := cmd.Flags().Lookup(flag)
		if f == nil {
			return "", false
		}
		if list, ok := f.Value.(pflag.SliceValue); ok {
			return strings.Join(list.GetSlice(), ","), f.Changed
		}
		return f.Value.String(), f.Changed
	})
	if err != nil {
		return &exit{exitUsage, err}
	}
	a.config = c
	a.log = slog.New(slog.NewTextHandler(maskedLog{a}, &slog.HandlerOptions{Level: c.level}))
	return nil
}

// resolve merges the sources; flag returns a flag's value and whether it was given.
func resolve(getenv func(string) string, flag func(string) (string, bool)) (config, error) {
	c := config{}
	if err := checkVariables(getenv); err != nil {
		return c, err
	}
	data := effective{setting: settings()[0]}
	data.value, data.source = given(data.setting, getenv, flag)
	path, err := configPath(getenv, flag, data.value)
	if err != nil {
		return c, err
	}
	file, err := readConfigFile(path)
	if err != nil {
		return c, err
	}
	c.file = path
	for _, s := range settings() {
		e := effective{setting: s}
		e.value, e.source = given(s, getenv, flag)
		if entry, ok := file.entries[s.key()]; ok && e.source == "" {
			e.value, e.source = entry.value, fmt.Sprintf("%s, line %d", path, entry.line)
		}
		if e.source == "" {
			e.value, e.source = s.defaultValue, "default"
		}
		c.values = append(c.values, e)
	}
	if c.models.Endpoints, err = providers.ReadEndpoints(file.sections[endpointsKey], filepath.Dir(path), getenv); err != nil {
		return c, fmt.Errorf("read configuration %s: %w", path, err)
	}
	if c.routes, err = readRoutes(file.sections[routesKey]); err != nil {
		return c, fmt.Errorf("read configuration %s: %w", path, err)
	}
	c.rules = file.sections[rulesKey]
	if c.servers, err = mcp.ReadServers(file.sections[serversKey], filepath.Dir(path), getenv); err != nil {
		return c, fmt.Errorf("read configuration %s: %w", path, err)
	}
	return c, c.complete(getenv)
}

// given returns what the command line or the environment says; source is empty when neither says anything.
func given(s setting, getenv func(string) string, flag func(string) (string, bool)) (value, source string) {
	if text, ok := flag(s.flag); ok && !s.secret {
		return text, "flag --" + s.flag
	}
	if text := getenv(s.env); text != "" {
		return text, "environment " + s.env
	}
	return "", ""
}

// configPath finds the configuration file; empty when there is none.
func configPath(getenv func(string) string, flag func(string) (string, bool), data string) (string, error) {
	if path, ok := flag("config"); ok {
		return path, nil
	}
	var candidates []string
	if dir := getenv("XDG_CONFIG_HOME"); filepath.IsAbs(dir) {
		candidates = append(candidates, filepath.Join(dir, "life", "config.yaml"))
	} else if home := getenv("HOME"); home != "" {
		candidates = append(candidates, filepath.Join(home, ".config", "life", "config.yaml"))
	}
	if data == "" {
		data = defaultData(getenv)
	}
	if data != "" {
		candidates = append(candidates, filepath.Join(data, "config.yaml"))
	}
	for _, path := range candidates {
		_, err := os.Stat(path)
		if err == nil {
			return path, nil
		}
		if !errors.Is(err, os.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) { // what is no directory is reported when it is used
			return "", fmt.Errorf("look for a configuration file: %w", err)
		}
	}
	return "", nil
}

func defaultData(getenv func(string) string) string {
	if dir := getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "life")
	}
	if home := getenv("HOME"); home != "" {
		return filepath.Join(home, ".local", "share", "life")
	}
	return ""
}

func (c *config) get(flag string) string { return c.find(flag).value }

// byEnv is what is in effect of the setting with that environment variable.
func (c *config) byEnv(name string) string {
	for _, e := range c.values {
		if e.env == name {
			return e.value
		}
	}
	return ""
}

func (c *config) find(flag string) *effective {
	for i := range c.values {
		if c.values[i].flag == flag {
			return &c.values[i]
		}
	}
	panic("no setting is named " + flag)
}

// complete fills the defaults that depend on others, and checks every value.
func (c *config) complete(getenv func(string) string) error {
	data := c.find("data")
	if data.value == "" {
		data.value = defaultData(getenv)
	}
	if data.value == "" {
		return errors.New("there is no home directory: name a data directory with --data or LIFE_DATA")
	}
	for _, flag := range []string{"data", "store-credentials-file", "peer-certs", "scripts", "prices", "token-file", "cassette-dir", "openai-api-key-file", "anthropic-api-key-file"} {
		if err := c.find(flag).absolute(); err != nil {
			return err
		}
	}
	if _, _, err := vault.Names(c.get("secrets")); err != nil {
		return fmt.Errorf("secrets (%s): %w", c.find("secrets").source, err)
	}
	if err := c.level.UnmarshalText([]byte(c.get("log-level"))); err != nil {
		return c.find("log-level").wrong("must be debug, info, warn or error")
	}
	if err := c.checkStore(); err != nil {
		return err
	}
	credit, err := events.ParseMoney(c.get("credit"))
	if err != nil {
		return c.find("credit").wrong("must be dollars with at most six decimals, such as 2.50")
	}
	c.credit = credit
	if err := errors.Join(c.checkRecord(), c.checkIgnore(), c.checkSandbox(getenv), c.checkPermissions()); err != nil {
		return err
	}
	cassette := providers.TapeMode(c.get("cassette"))
	if cassette != "" && cassette != providers.TapeRecord && cassette != providers.TapePlay {
		return c.find("cassette").wrong("must be record or play")
	}
	if cassette != "" && c.get("cassette-dir") == "" {
		c.find("cassette-dir").value = filepath.Join(data.value, "tape") // its first name, so that recordings are found
	}
	c.models = providers.Config{
		OpenAI:    providers.OpenAIFromEnvironment(c.byEnv),
		Anthropic: providers.AnthropicFromEnvironment(c.byEnv),
		Endpoints: c.models.Endpoints,
		Scripted:  providers.ScriptedConfig{Dir: c.get("scripts")},
		Tape:      providers.TapeConfig{Mode: cassette, Dir: c.get("cassette-dir")},
	}
	if err := c.readPatience(); err != nil {
		return err
	}
	c.chooseModel()
	return c.readTenants()
}

// readPatience reads how long models are waited for.
func (c *config) readPatience() error {
	var patience [2]time.Duration
	for i, flag := range []string{"model-first-byte", "model-silence"} {
		value, err := time.ParseDuration(c.get(flag))
		if err != nil || value <= 0 {
			return c.find(flag).wrong("must be a duration such as 90s or 15m")
		}
		patience[i] = value
	}
	for _, remote := range []*endpoint.Config{&c.models.OpenAI, &c.models.Anthropic} {
		remote.FirstByte, remote.Idle = patience[0], patience[1]
	}
	for i := range c.models.Endpoints {
		e := &c.models.Endpoints[i]
		e.FirstByte, e.Idle = cmp.Or(e.FirstByte, c.models.OpenAI.FirstByte), cmp.Or(e.Idle, c.models.OpenAI.Idle)
	}
	return nil
}

// checkSandbox reads how commands are run.
func (c *config) checkSandbox(getenv func(string) string) error {
	mode := sandbox.Mode(c.get("sandbox-mode"))
	if !slices.Contains(sandbox.Modes(), mode) {
		return c.find("sandbox-mode").wrong(fmt.Sprintf("must be one of %v", sandbox.Modes()))
	}
	level, err := strconv.Atoi(c.get("sandbox-min-level"))
	if err != nil || level < int(sandbox.LevelHost) || level > int(sandbox.LevelNamespaces) {
		return c.find("sandbox-min-level").wrong("must be a number from 0 to 3")
	}
	if mode == sandbox.ModeOff && level > 0 && c.find("sandbox-min-level").source != "default" {
		return c.find("sandbox-min-level").wrong("contradicts the sandbox mode off, which confines nothing")
	}
	c.sandbox = sandbox.Config{Mode: mode, MinLevel: sandbox.Level(level), Path: getenv("PATH")}
	if c.files, err = c.filePolicy(); err != nil {
		return err
	}
	c.sandbox.Policy = c.files
	var reachable []network.Rule
	for text := range strings.SplitSeq(c.get("sandbox-net"), ",") {
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		rule, err := network.ParseRule(text)
		if err != nil {
			return c.find("sandbox-net").wrong("has " + err.Error())
		}
		reachable = append(reachable, rule)
	}
	c.sandbox.Network = network.New(reachable)
	for path := range strings.SplitSeq(c.get("sandbox-read"), ",") {
		switch path = strings.TrimSpace(path); {
		case path == "":
		case !filepath.IsAbs(path):
			return c.find("sandbox-read").wrong("must be a list of absolute paths")
		default:
			c.sandbox.Readable = append(c.sandbox.Readable, path)
		}
	}
	return nil
}

// filePolicy reads what is protected in workspaces.
func (c *config) filePolicy() (*fspolicy.Policy, error) {
	read := func(flag string) (patterns []string, err error) {
		for pattern := range strings.SplitSeq(c.get(flag), ",") {
			if pattern = strings.TrimSpace(pattern); pattern != "" {
				patterns = append(patterns, pattern)
			}
		}
		if _, err := fspolicy.New(fspolicy.Config{Deny: patterns}); flag == "files-deny" && err != nil {
			return nil, c.find(flag).wrong(err.Error())
		}
		if _, err := fspolicy.New(fspolicy.Config{Allow: patterns}); flag == "files-allow" && err != nil {
			return nil, c.find(flag).wrong(err.Error())
		}
		return patterns, nil
	}
	deny, err := read("files-deny")
	if err != nil {
		return nil, err
	}
	allow, err := read("files-allow")
	if err != nil {
		return nil, err
	}
	return fspolicy.New(fspolicy.Config{Deny: deny, Allow: allow})
}

// checkPermissions looks at how calls are judged; rules are read when they are used.
func (c *config) checkPermissions() error {
	if full := c.get("allow-full"); full != "yes" && full != "no" {
		return c.find("allow-full").wrong("must be yes or no")
	}
	if err := c.find("permissions").absolute(); err != nil {
		return err
	}
	for path := range strings.SplitSeq(c.get("trusted-workspaces"), ",") {
		if path = strings.TrimSpace(path); path != "" && !filepath.IsAbs(path) {
			return c.find("trusted-workspaces").wrong("must be a list of absolute paths")
		}
	}
	return nil
}

// permissions is how calls are judged.
func (c *config) permissions() (permission.Config, error) {
	conf := permission.Config{Files: c.files, Full: c.get("allow-full") == "yes"}
	for path := range strings.SplitSeq(c.get("trusted-workspaces"), ",") {
		if path = strings.TrimSpace(path); path != "" {
			conf.Trusted = append(conf.Trusted, filepath.Clean(path))
		}
	}
	rules, err := permission.ReadFile(permission.AdminFile, permission.ScopeAdmin)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return conf, err
	}
	conf.Rules = rules
	if rules, err = permission.ReadRules(c.rules, c.file, permission.ScopeUser); err != nil {
		return conf, err
	}
	conf.Rules = append(conf.Rules, rules...)
	if file := c.get("permissions"); file != "" {
		if rules, err = permission.ReadFile(file, permission.ScopeUser); err != nil {
			return conf, err
		}
		conf.Rules = append(conf.Rules, rules...)
	}
	return conf, nil
}

// checkStore looks at the address of the store; whether anything answers there is found out when it is opened.
func (c *config) checkStore() error {
	store := c.find("store")
	if store.value == "" { // said with an empty flag
		store.value = stores.InData
	}
	if store.value != stores.InData && !stores.IsAddress(store.value) {
		return fmt.Errorf("store is %q (%s), which is neither embedded nor an address such as esdb://127.0.0.1:2113; --data names the directory of the embedded store",
			stores.Masked(store.value), store.source)
	}
	return c.place().CheckAddress(store.source == "flag --store")
}

// chooseModel picks the model of new agents when nothing names one: a real one if there is a way to reach it, else none. A scripted
// one is never picked, as it would edit files of whoever gives it a task.
func (c *config) chooseModel() {
	model := c.find("model")
	switch {
	case model.value != "":
	case c.models.OpenAI.Key != "" || c.models.OpenAI.KeyFile != "":
		model.value, model.source = "openai/gpt-5-mini", "default, because there is an OpenAI key"
	case c.models.Anthropic.Key != "" || c.models.Anthropic.KeyFile != "":
		model.value, model.source = "anthropic/claude-haiku-4-5", "default, because there is an Anthropic key"
	default:
		model.source = "default, because there is no key of OpenAI or Anthropic"
	}
}

// absolute makes a path independent of where the command runs.
func (e *effective) absolute() error {
	if e.value == "" {
		return nil
	}
	path, err := filepath.Abs(e.value)
	if err != nil {
		return fmt.Errorf("%s: %w", e.flag, err)
	}
	e.value = path
	return nil
}

func (e *effective) wrong(what string) error {
	return fmt.Errorf("%s is %q (%s): it %s", e.key(), e.value, e.source, what)
}

// place is the one that the settings name, for a verb that opens it.
func (a *app) place() stores.Location {
	p := a.config.place()
	p.Say = a.errs
	return p
}

// place is the one that the settings name.
func (c *config) place() stores.Location {
	p := stores.Location{Policy: c.files, Data: c.get("data"), Credentials: c.get("store-credentials-file"), Files: c.record.limits, NoFiles: c.record.off, Ignore: c.ignore, Sandbox: c.sandbox, Servers: c.servers}
	if store := c.get("store"); stores.IsAddress(store) {
		p.Address = store
	}
	return p
}

// storeName says where events are, without who asks: processes compare it.
func (c *config) storeName() string {
	p := c.place()
	if p.Embedded() {
		return stores.InData
	}
	scheme, rest, _ := strings.Cut(p.Address, "://")
	return scheme + "://" + rest[stores.UserEnd(rest):]
}

// masker knows the secrets of the settings. They are read once.
func (a *app) masker() (*secrets.Masker, error) {
	a.secrets.once.Do(func() {
		c := &a.config
		a.secrets.masker, a.secrets.err = vault.Open(vault.Config{
			Getenv: a.getenv, Models: c.models, TokenFile: c.get("token-file"), Credentials: c.get("store-credentials-file"), Store: c.get("store"), Named: c.get("secrets"), Servers: c.servers,
		})
	})
	return a.secrets.masker, a.secrets.err
}

// knownSecrets is the masker, when it is first needed.
type knownSecrets struct {
	once   sync.Once
	masker *secrets.Masker
	err    error
}

// maskedLog is where the log is written: no secret is in it.
type maskedLog struct{ app *app }

// Write takes one entry of the log.
func (l maskedLog) Write(p []byte) (int, error) {
	masker, err := l.app.masker()
	if err != nil {
		masker = &secrets.Masker{} // the host is not started without them, and says so
	}
	masked, _ := masker.Mask(events.MaskShapes, string(p))
	if _, err := io.WriteString(l.app.errs, masked); err != nil {
		return 0, err
	}
	return len(p), nil
}
