package api_test

import (
	"context"
	"errors"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"

	"example.com/life/actors"
	"example.com/life/actors/actorstest"
	"example.com/life/actors/history"
	"example.com/life/actors/storage"
	"example.com/life/adapters/api"
	"example.com/life/events"
)

// TestSameWorkspaces looks at the files of a workspace in process and through the API.
func TestSameWorkspaces(t *testing.T) {
	dir, blobs := t.TempDir(), &rotten{Blobs: actorstest.NewBlobs()}
	for name, text := range map[string]string{"a/b.txt": "<text> & more", "caf\xe9": "not UTF-8", "empty": "", "rotten": "soon"} {
		actorstest.Write(t, dir, name, text)
	}
	files := actorstest.NewWorkspaces()
	files.Blobs = blobs
	running, err := actors.New(t.Context(), actors.Config{Masker: actorstest.Unmasked{}, Journal: actorstest.NewMemory(), Blobs: blobs, Models: models{}, Tools: []actors.Tool{echo()}, Files: files})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeHost(t, running) })
	host := whole{running, &fakeBus{}}
	made := create(ada)
	made.Config.Workspace = dir
	do(t, host, events.AgentStream(ada), made)
	blobs.hash = events.HashBytes([]byte("soon"))
	client := newClient(t, api.ClientConfig{BaseURL: serve(t, host).URL})

	type looks struct {
		Listed history.ListedWorkspace
		Texts  map[string]string
		Errors map[string]string
	}
	look := func(w api.Host) looks {
		listed, err := w.ListWorkspace(t.Context(), ada, events.NoRevision)
		if err != nil || len(listed.Files) != 5 {
			t.Fatalf("listed %+v: %v", listed, err)
		}
		seen := looks{listed, map[string]string{}, map[string]string{}}
		for _, path := range []string{"a/b.txt", "caf\xe9", "empty", "a", "nothing", ""} {
			text, err := readFile(t.Context(), w, ada, 0, path)
			if seen.Texts[path] = text; err != nil {
				seen.Errors[path] = describe(err)
			}
		}
		for _, agent := range []events.AgentID{"nobody", "NOBODY"} {
			_, err := w.ListWorkspace(t.Context(), agent, events.NoRevision)
			_, openErr := readFile(t.Context(), w, agent, events.NoRevision, "a/b.txt")
			seen.Errors[string(agent)] = describe(err) + describe(openErr)
		}
		if text, err := readFile(t.Context(), w, ada, 0, "rotten"); err == nil {
			t.Errorf("a damaged file is read as %q", text)
		}
		return seen
	}
	want := look(host)
	if want.Texts["a/b.txt"] != "<text> & more" || want.Texts["caf\xe9"] != "not UTF-8" || len(want.Errors) != 5 {
		t.Errorf("in process: %+v", want)
	}
	if diff := cmp.Diff(want, look(client)); diff != "" {
		t.Errorf("- in process, + through the API:\n%s", diff)
	}
}

func readFile(ctx context.Context, w api.Host, agent events.AgentID, at events.Revision, path string) (string, error) {
	file, err := w.OpenWorkspaceFile(ctx, agent, at, path)
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(file)
	return string(text), errors.Join(err, file.Close())
}

// rotten is a store of blobs in which one is damaged.
type rotten struct {
	*actorstest.Blobs
	hash string
}

func (r *rotten) Open(ctx context.Context, ref events.BlobRef) (io.ReadCloser, error) {
	blob, err := r.Blobs.Open(ctx, ref)
	if ref.Hash != r.hash || err != nil {
		return blob, err
	}
	return damaged{blob}, nil
}

type damaged struct{ io.ReadCloser }

func (d damaged) Read(p []byte) (int, error) {
	n, err := d.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		err = storage.ErrCorrupt
	}
	return n, err
}
