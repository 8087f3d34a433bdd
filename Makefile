# make help lists the targets. What a target needs beyond Go, make, git and gcc it gets itself, see scripts/.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL: # the tests share one engine, and the clocks in them want the machine's cores

VERSION ?= $(shell GIT_OPTIONAL_LOCKS=0 git describe --tags --always --dirty 2>/dev/null || echo dev)
COMMIT ?= $(shell GIT_OPTIONAL_LOCKS=0 git rev-parse HEAD 2>/dev/null)
IMAGE ?= gitops-compose:$(VERSION)

# Tests in files with the build tag "engine" need a real engine; all others need nothing but Go.
# The limit of time is per package; go test's default of 10 minutes is too short for images and engines.
GO_TEST := go test -race -timeout 55m

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## the static binary, bin/gitops-compose
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT)' -o bin/gitops-compose ./cmd/gitops-compose

.PHONY: test
test: engine servers sops unit lint contract e2e ## everything: engine, unit, lint, contract, end to end

.PHONY: servers
servers: # without them the tests over SSH, in a browser and with Prometheus are skipped, or fail with REQUIRE_ALL=1
	@scripts/packages.sh openssh-server:sshd prometheus:promtool chromium:chromium || [[ -z "$${REQUIRE_ALL:-}" ]]

# The tests of internal/secrets hold it against the real command; without it they are skipped, or fail with REQUIRE_ALL=1.
SOPS := .tools/sops-v3.12.0

.PHONY: sops
sops: $(SOPS)

.PHONY: unit
unit: ## tests that need no engine, with the race detector
	$(GO_TEST) ./...

.PHONY: contract
contract: engine ## the engine's contract suite on the fake and on the real engine
	$(GO_TEST) -tags engine ./internal/engine/...

.PHONY: e2e
e2e: engine ## the real binary, git server, registry, engine and image
	$(GO_TEST) -parallel 4 -tags engine ./internal/e2e/... # they wait more than they work

.PHONY: bench
bench: engine ## the benchmarks beside the raw engine and git, one table, and the drawing that the README shows
	@mkdir -p bin && rm -f bin/bench.txt
	BENCH_TABLE=$(CURDIR)/bin/bench.txt BENCH_SVG=$(CURDIR)/.github/cost.svg \
		go test -p 1 -tags engine -timeout 60m -run '^$$' -bench . -benchmem ./... # one at a time, as they measure
	@cat bin/bench.txt

.PHONY: demo
demo: engine build ## a daemon with stacks to play with; Ctrl-C cleans up
	@scripts/demo.sh

.PHONY: image
image: engine ## the container image, IMAGE=name:tag
	scripts/image.sh $(IMAGE)

.PHONY: engine
engine: ## an engine that answers; on Debian, as root, it is installed where there is none
	@scripts/engine.sh

# Linters, and sops above: pinned, built once into .tools under a name with the version, so that a new version is a new file.
GOLANGCI_LINT := .tools/golangci-lint-v2.15.0
ACTIONLINT := .tools/actionlint-v1.7.12

.PHONY: lint
lint: $(GOLANGCI_LINT) $(ACTIONLINT) ## layers, style, format; workflows and scripts too
	$(GOLANGCI_LINT) run ./...
	@scripts/packages.sh shellcheck || echo "lint: scripts are not checked"
	@if command -v shellcheck >/dev/null; then shellcheck .ci/run scripts/*.sh; fi
	$(ACTIONLINT)

.PHONY: fmt
fmt: $(GOLANGCI_LINT) ## format the Go code as lint wants it
	$(GOLANGCI_LINT) fmt ./...

$(GOLANGCI_LINT): MODULE = github.com/golangci/golangci-lint/v2/cmd/golangci-lint
$(ACTIONLINT): MODULE = github.com/rhysd/actionlint/cmd/actionlint
$(SOPS): MODULE = github.com/getsops/sops/v3/cmd/sops
$(GOLANGCI_LINT) $(ACTIONLINT) $(SOPS): # .tools/NAME-VERSION; in a folder of its own first, so that no half of one is ever found
	@mkdir -p .tools/new
	GOFLAGS= GOBIN=$(CURDIR)/.tools/new go install $(MODULE)@$(lastword $(subst -v, v,$@))
	@mv .tools/new/$(notdir $(MODULE)) $@ && rmdir .tools/new

.PHONY: clean
clean: ## remove what was built here
	rm -rf bin .tools
