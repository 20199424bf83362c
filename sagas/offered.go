package sagas

import (
	"encoding/json"
	"path"
	"strings"
	"unicode/utf8"

	"example.com/life/events"
)

// SkillTool is the tool by which a model asks for a skill. An agent with skills is granted it.
const SkillTool = "activate_skill"

// Where skills may come from, besides absolute directories.
const (
	SkillsOfUser      = "user"
	SkillsOfWorkspace = "workspace"
)

// Bounds of what an agent is offered, so that a system prompt stays one.
const (
	MostSkills           = 100
	MostSkillDescription = 1_024 // bytes, of each
)

// offered tells the model which skills there are: their names and what they are for. Their texts come only when it asks for them.
func offered(found []events.Skill) string {
	if len(found) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString("The following skills are instructions for particular tasks. When a task matches a skill's description, call " + SkillTool +
		" with its name before you begin.\n<available_skills>\n")
	for i := range found {
		b.WriteString("- " + found[i].Name + ": " + found[i].Description + "\n")
	}
	b.WriteString("</available_skills>")
	return b.String()
}

// validateSkills refuses what could not be recorded or offered.
func validateSkills(c *events.SkillsConfig) error {
	for _, from := range c.From {
		if from != SkillsOfUser && from != SkillsOfWorkspace && (!path.IsAbs(from) || !utf8.ValidString(from)) {
			return refuse(RefusedInvalid, "skills.from has %q, want %s, %s or an absolute directory", events.Clip(from, 200), SkillsOfUser, SkillsOfWorkspace)
		}
	}
	if len(c.Found) > MostSkills {
		return refuse(RefusedInvalid, "there are %d skills, and at most %d can be offered: name fewer directories", len(c.Found), MostSkills)
	}
	for i := range c.Found {
		s := &c.Found[i]
		if s.Name == "" || s.Description == "" || len(s.Description) > MostSkillDescription || strings.ContainsAny(s.Name+s.Description, "\n\r") ||
			!utf8.ValidString(s.Name+s.Description+s.File) {
			return refuse(RefusedInvalid, "the skill %q cannot be offered: it needs a name, and a description of one line and at most %d bytes", events.Clip(s.Name, 80), MostSkillDescription)
		}
	}
	return nil
}

// Bounds of what an agent is granted of MCP servers: models take so many tools, and all of it is sent with every request.
const (
	MostServers           = 16
	MostServerTools       = 100
	MostServerDescription = 4 << 10   // bytes, of one tool
	MostServerSchema      = 32 << 10  // bytes, of one tool
	MostServerText        = 192 << 10 // bytes of both, of all tools
)

// unusable tells the model which MCP servers it has to do without, and why.
func unusable(problems []events.ServerProblem) string {
	if len(problems) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString("Of the MCP servers that are configured for you, this cannot be used now:\n")
	for i := range problems {
		b.WriteString("- " + problems[i].Server + ": " + problems[i].Problem + "\n")
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// serverTools are the tools of MCP servers that an agent was granted, as they were described to it.
func serverTools(c *events.AgentConfig) (granted []events.ToolGrant) {
	for i := range c.Tools {
		if c.Tools[i].Of.Server != "" {
			granted = append(granted, c.Tools[i])
		}
	}
	return granted
}

// mixed are the tools of the host's own that one configuration grants, and those of MCP servers that another one does; nil: none.
func mixed(own, servers *events.AgentConfig) (tools []events.ToolGrant) {
	for i := range own.Tools {
		if own.Tools[i].Of.Server == "" {
			tools = append(tools, own.Tools[i])
		}
	}
	if servers != nil {
		tools = append(tools, serverTools(servers)...)
	}
	return tools
}

// validateMCP refuses what could not be recorded or offered.
func validateMCP(c *events.AgentConfig) error {
	if len(c.MCP.Servers) > MostServers {
		return refuse(RefusedInvalid, "mcp.servers has %d servers, and at most %d can be used", len(c.MCP.Servers), MostServers)
	}
	for _, server := range c.MCP.Servers {
		if server == "" || !utf8.ValidString(server) {
			return refuse(RefusedInvalid, "mcp.servers has a server without a name, or with one in invalid UTF-8")
		}
	}
	for _, p := range c.MCP.Problems {
		if !utf8.ValidString(p.Server + p.Problem) {
			return refuse(RefusedInvalid, "what is wrong with MCP server %q is not valid UTF-8", p.Server)
		}
	}
	granted, size := serverTools(c), 0
	if len(granted) > MostServerTools {
		return refuse(RefusedInvalid, "MCP servers offer %d tools, and at most %d can be granted: name fewer with tools in their configuration", len(granted), MostServerTools)
	}
	for i := range granted {
		of := &granted[i].Of
		size += len(of.Description) + len(of.Schema)
		if len(of.Description) > MostServerDescription || len(of.Schema) > MostServerSchema || size > MostServerText ||
			!utf8.ValidString(of.Server+of.Tool+of.Method+of.Description) || !json.Valid([]byte(of.Schema)) {
			return refuse(RefusedInvalid, "tool %s cannot be granted: its description, or its schema, is too long or malformed", granted[i].Name)
		}
	}
	return nil
}
