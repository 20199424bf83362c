package world

import "example.com/life/events"

// Who and what there is.
//
//nolint:gochecknoglobals // lists that nothing writes to
var (
	people  = []string{"ada", "ann", "ben", "cleo", "dev", "emil"}
	tenants = []events.TenantID{"local", "ops", "lab"}
	models  = []model{
		{"scripted/tour", 300, 1200},
		{"openai/gpt-4o-mini", 150, 600},
		{"openai/gpt-4o", 2500, 10_000},
		{"openai/o4-mini", 1100, 4400},
		{"local/qwen", 0, 0},
	}
	tools = []events.ToolGrant{
		{Name: "read_file", Risk: events.RiskLow, Repeatable: true},
		{Name: "list_dir", Risk: events.RiskLow, Repeatable: true},
		{Name: "grep", Risk: events.RiskLow, Repeatable: true},
		{Name: "write_file", Risk: events.RiskMedium, Repeatable: true},
		{Name: "edit_file", Risk: events.RiskMedium, Repeatable: true},
		{Name: "bash", Risk: events.RiskHigh},
	}
	files = []string{
		"README.md", "go.mod", "cmd/main.go", "docs/architecture.md", "docs/operations.md", "internal/ledger/ledger.go",
		"internal/ledger/ledger_test.go", "web/index.html", "scripts/release.sh", "data/orders.csv", "data/müller.csv", "notes/today.md",
	}
	commands = []string{
		"go test ./...", "make lint", "git status --short", "ls -la | head -20", `grep -rn "TODO" . | wc -l`, "wc -l data/*.csv && sort -u data/orders.csv",
	}
	words = []string{
		"the", "a", "of", "and", "to", "in", "that", "is", "was", "file", "test", "order", "ledger", "balance", "customer", "report", "line",
		"change", "before", "after", "with", "without", "every", "first", "second", "wrong", "right", "missing", "found", "wrote", "read",
		"checked", "again", "because", "value", "total", "number", "table", "server", "request", "answer", "question", "release", "branch",
		"number of lines", "out of date", "by hand", "as expected", "not yet", "for now", "it failed", "it passed", "should be", "could be",
		"\"quoted\"", "a < b", "x > 0 && y", "café", "naïve", "€ 12,50", "see docs/operations.md", "in internal/ledger", "(twice)",
		"next week", "the customer's", "invoice", "refund", "rounding", "cents", "migration", "index", "timeout", "retry", "backup",
	}
)

// model is a model and what a million tokens cost, in micro-dollars a thousand.
type model struct {
	name          string
	input, output int64
}

// text writes 100 to 300 bytes that look like what people and models write.
func (r *random) text() events.Text {
	want := r.between(100, 280)
	b := make([]byte, 0, 300)
	for len(b) < want {
		if len(b) > 0 {
			switch r.below(12) {
			case 0:
				b = append(b, ". "...)
			case 1:
				b = append(b, ", "...)
			case 2:
				b = append(b, '\n')
			default:
				b = append(b, ' ')
			}
		}
		b = append(b, pick(r, words)...)
	}
	return events.Text{Inline: string(append(b, '.'))}
}
