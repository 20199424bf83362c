# The verbs of this repository. Each is one line of truth: what CI and people run is what stands here.
# Needs Go and nothing else; everything pinned below is fetched as a Go module.

VERSION   ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
GOLANGCI  := go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
DEADCODE  := go run golang.org/x/tools/cmd/deadcode@v0.49.0
FUZZTIME  ?= 20s
TRIMPATH  ?= -trimpath
SOAK      ?= 30s
ROUNDS    ?= 40
WITHIN    ?= 2h
# The race detector needs a C compiler; where there is none, `make test` still runs, and says so.
RACE      := $(if $(filter 1,$(shell go env CGO_ENABLED)),-race)
# A race build sleeps for a second before it exits; the tests start a thousand of them.
export GORACE ?= atexit_sleep_ms=10

.PHONY: cluster help build test test-long test-node test-recorded test-faults test-cluster soak race transcripts history fuzz format lint e2e bench demo demo-esdb test-esdb generate protocol changelog clean

help: ## show the verbs
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "%-13s %s\n", $$1, $$2 }' Makefile

build: ## bin/life, without symbols for debuggers
	go build $(TRIMPATH) -buildvcs=false -ldflags "-s -w -X main.version=$(VERSION)" -o bin/life ./cmd/life

test: ## every test, with the race detector
	@$(if $(RACE),,echo "no C compiler: testing without the race detector" >&2)
	go test $(RACE) -timeout 20m ./...

test-node: ## clients for Node: EventStoreDB's against life store serve, OpenAI's and Anthropic's on our recordings; needs node, npm and a registry
	go test -tags node -count 1 -timeout 10m ./cmd ./adapters/providers -run 'TestNodeClient|TestNodeReadsAlike' -v

test-recorded: ## what was recorded from EventStoreDB 24.10, played to life store serve; needs node, npm and a registry
	go test -tags node -count 1 -timeout 10m ./cmd -run TestRecordedAnswers -v

test-faults: ## a table of what each fault of a cluster of event stores costs, from 208 runs; LIFE_FAULT_REAL=1 takes as long as real clusters
	LIFE_FAULT_RUNS=208 go test -count 1 -timeout 30m -run TestClusterFaults -v ./adapters/eventstore

test-cluster: ## a cluster of processes, each in a network of its own, which needs root: ROUNDS faults at random (SEED=N repeats a run), effects of stopped hosts, an upgrade; SILENT=3s on a machine that does something else too
	LIFE_TEST_CLUSTER=1 go test -count 1 -timeout $(WITHIN) -v ./cmd/clustertest -rounds $(ROUNDS) $(if $(SEED),-seed $(SEED)) $(if $(SILENT),-silent $(SILENT))

test-esdb: ## every test of the binary that uses a store, again, with events behind life store serve, through the EventStoreDB protocol
	LIFE_TEST_STORE=esdb go test -count 1 -timeout 20m ./cmd \
		-run '^(TestScripts|TestForkKilled|TestForwardVerb|TestLookingBack|TestVerifyNamesADivergence)$$'

test-long: ## what chance decides, at the full count, and every row of the suite of stores over each version of EventStoreDB
	LIFE_CONFORMANCE=full go test $(RACE) -count 1 -timeout 1h -run 'TestProjector|TestSnapshotsAlone|TestSecureJournal|TestEveryVersion' ./actors ./adapters/embedded ./adapters/eventstore
	LIFE_KILLS=5000 go test -count 1 -timeout 6h -run 'TestChaos' -v ./cmd
	LIFE_KILLS=2000 LIFE_FLIPS=22 go test -count 1 -timeout 6h -run 'TestStoreKilledAtRandom|TestEveryByteCounts' -v ./cmd

soak: ## consumer groups under trouble of every kind, for SOAK
	LIFE_SOAK=$(SOAK) go test -count 1 -timeout 30m ./adapters/embedded/server -run TestPersistentSoak -v

race: ## the concurrent packages ten times over, to find what one run does not
	go test $(RACE) -count 10 -timeout 30m ./actors/... ./adapters/...

transcripts: ## rewrite the decisions' and folds' transcripts; review the diff as prose
	go test ./sagas/... ./projections/... ./adapters/declared/... -rewrite

history: ## STORY=approve: add what a story of cmd/testdata/script records to the histories that every later build must decide alike
	go test -count 1 ./cmd -run 'TestScripts/$(STORY)$$' -record
	go test -count 1 ./cmd -run TestHistories -record

fuzz: ## each fuzz test for FUZZTIME; what it finds is not made smaller, which would take most of that time
	@for package in $$(go list ./...); do for test in $$(go test -list '^Fuzz' $$package | grep '^Fuzz'); do \
		echo "$$package $$test"; go test -run '^$$' -fuzz "^$$test\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1x $$package || exit 1; done; done

format: ## gofumpt and grouped imports, in place
	$(GOLANGCI) fmt

lint: ## golangci-lint, and no code that the binary cannot reach
	$(GOLANGCI) run
	@dead="$$($(DEADCODE) ./cmd/life)" || exit 1; if [ -n "$$dead" ]; then echo "$$dead"; echo "delete it, or let cmd/life use it" >&2; exit 1; fi

e2e: build ## the binary as a user drives it, and the demo
	go test -count 1 -timeout 20m ./cmd/...
	./docs/demo.sh bin/life
	./docs/demo-esdb.sh bin/life

bench: build ## turns per second and latency, what the store does, in process and through the protocol, and what a cluster does, as JSON
	bin/life bench turns --json
	bin/life bench store --json
	bin/life bench cluster --quick --json

demo: build ## a scripted agent on a copy of the sample workspace: run, history, a look back, verify
	./docs/demo.sh bin/life

cluster: build ## a store and three hosts on this machine, until Ctrl-C
	@bash docs/testdata/cluster.sh bin/life

demo-esdb: build ## the same, with events behind life store serve, and a copy of it
	./docs/demo-esdb.sh bin/life

generate: ## docs/events.md, missing goldens and sentences, from events/
	go test -p 1 ./events ./docs -run 'TestGoldens|TestSentences|TestEventsDoc' -rewrite

protocol: ## the Go of adapters/embedded/server/protocol/*.proto; needs protoc (Debian: protobuf-compiler)
	GOBIN=$(CURDIR)/bin/tools go install google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.10
	GOBIN=$(CURDIR)/bin/tools go install google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.6.2
	protoc --plugin=bin/tools/protoc-gen-go --plugin=bin/tools/protoc-gen-go-grpc \
		--go_out=. --go_opt=module=example.com/life --go-grpc_out=. --go-grpc_opt=module=example.com/life adapters/embedded/server/protocol/*.proto

changelog: ## VERSION=1.2.0: move changes/unreleased into CHANGELOG.md; without it, show what would be moved
	./changes/collect.sh $(if $(filter command,$(origin VERSION)),$(VERSION))

clean: ## what the other verbs made
	rm -rf bin
