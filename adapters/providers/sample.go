package providers

import (
	"embed"
	"fmt"
	"io/fs"
)

//go:embed sample
var sample embed.FS

// Sample returns a small workspace for the tour: a README that is still a draft, a script and some notes.
func Sample() (fs.FS, error) {
	files, err := fs.Sub(sample, "sample")
	if err != nil {
		return nil, fmt.Errorf("open sample workspace: %w", err)
	}
	return files, nil
}
