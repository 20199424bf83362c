//go:build depskeep

package life

import (
	_ "github.com/EventStore/EventStore-Client-Go/v4/esdb"
	_ "github.com/asynkron/protoactor-go/actor"
	_ "github.com/bmatcuk/doublestar/v4"
	_ "github.com/cockroachdb/datadriven"
	_ "github.com/cockroachdb/pebble/v2"
	_ "github.com/google/go-cmp/cmp"
	_ "github.com/google/jsonschema-go/jsonschema"
	_ "github.com/google/uuid"
	_ "github.com/openai/openai-go/v3"
	_ "github.com/rogpeppe/go-internal/testscript"
	_ "github.com/spf13/cobra"
	_ "go.opentelemetry.io/otel"
	_ "go.opentelemetry.io/otel/trace"
	_ "go.uber.org/goleak"
	_ "go.yaml.in/yaml/v3"
	_ "golang.org/x/sys/unix"
	_ "golang.org/x/sync/errgroup"
	_ "pgregory.net/rapid"
)
