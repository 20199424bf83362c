package tools

import (
	"context"
	"fmt"
	"io"

	"example.com/life/actors"
	"example.com/life/actors/storage"
	"example.com/life/adapters/network"
	"example.com/life/events"
)

type webFetchArgs struct {
	URL string `json:"url" min:"1" max:"4096" jsonschema:"the page's address, with http:// or https://"`
}

// web reads pages.
type web struct {
	blobs  storage.Blobs
	policy *network.Policy
}

func (w web) tool() (actors.Tool, error) {
	// What is asked for tells others something, so it is as much as any command that leaves the sandbox.
	return newTool(actors.ToolSpec{Name: "web_fetch", Risk: events.RiskHigh}, w.fetch)
}

func (w web) fetch(ctx context.Context, use actors.ToolUse, args webFetchArgs) (actors.ToolResult, error) {
	page, err := w.policy.Fetch(ctx, args.URL)
	if err != nil {
		return actors.ToolResult{}, err
	}
	if page.Next != "" {
		return failed(fmt.Sprintf("%s redirects to another host and was not followed (status %d): %s", page.URL, page.Status, events.Clip(events.VisibleLine(page.Next), 4096))), nil
	}
	output := newSpool(ctx, w.blobs)
	masking := maskedOutput(output, use.Secrets)
	_, err = fmt.Fprintf(masking, "[%s: status %d, %s]\n", page.URL, page.Status, page.Type)
	if err == nil {
		_, err = io.WriteString(masking, page.Text)
	}
	_ = masking.Close() // a spool takes everything
	text, full := output.close()
	if err != nil {
		return actors.ToolResult{}, err
	}
	end := ""
	if page.Cut {
		end = "[the page is longer: this is of its beginning]"
	}
	return actors.ToolResult{Text: ended(text, end), Full: full, Failed: page.Status >= 400}, nil
}
