package docs

import (
	"io/fs"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

// maxFiles is how many files, without tests and generated ones, a package may have: more than that nobody keeps in mind.
const maxFiles = 30

// larger are the packages that may have more, and how many. The numbers only ever go down.
var larger = map[string]int{
	"cmd":                      65, // a file a verb; the bench verbs are to leave it
	"adapters/embedded/server": 41, // users and access rules are to leave it
}

// TestPackagesAreSmall counts the files of each package.
func TestPackagesAreSmall(t *testing.T) {
	count := map[string]int{}
	err := filepath.WalkDir(root, func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := entry.Name()
		if entry.IsDir() && (name == "testdata" || name != ".." && strings.HasPrefix(name, ".")) {
			return filepath.SkipDir
		}
		if strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go") && !strings.HasSuffix(name, ".pb.go") {
			local, err := filepath.Rel(root, file)
			if err != nil {
				return err
			}
			count[path.Dir(filepath.ToSlash(local))]++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, files := range count {
		allowed, excepted := larger[name]
		switch {
		case !excepted && files > maxFiles:
			t.Errorf("%s has %d files, at most %d are allowed: split it by what a reader looks for", name, files, maxFiles)
		case excepted && files > allowed:
			t.Errorf("%s has %d files, %d were too many already", name, files, allowed)
		case excepted && files < allowed:
			t.Errorf("%s has only %d files now: lower its number in this test from %d", name, files, allowed)
		}
	}
}
