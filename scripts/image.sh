#!/usr/bin/env bash
# Builds the container image from the Dockerfile:  scripts/image.sh NAME:TAG
# Where the Dockerfile's builder image can't be pulled, a stand-in is made from this machine's Go, module cache and
# build cache, so that the same Dockerfile runs without any registry, and without network. The stand-in is kept as
# gitops-compose-builder:KEY until Go or a dependency changes.
set -euo pipefail
cd "$(dirname "$0")/.."
tag=${1:?usage: scripts/image.sh NAME:TAG}
version=${VERSION:-$(GIT_OPTIONAL_LOCKS=0 git describe --tags --always --dirty 2>/dev/null || echo dev)}
commit=$(GIT_OPTIONAL_LOCKS=0 git rev-parse HEAD 2>/dev/null || true)
repository=gitops-compose-builder
scratch=$(mktemp -d)
# The classic builder leaves its build stage behind, without a name.
trap 'rm -rf "$scratch"; docker image prune -f --filter "label=$repository" >/dev/null' EXIT

# Paths of all that go mod download wants to find, and of what it unpacks: the host fetches it, the stand-in has it.
modules() {
  go mod download -json |
    awk -F '"' '/^\t"(Info|Zip|Dir)":/ { print $4 } /^\t"Zip":/ { sub(/zip$/, "ziphash", $4); print $4 }'
  find "$(go env GOMODCACHE)/cache/download" -name '*.mod' # of the whole graph, not only of what is used
}

# The entries of the build cache that the Dockerfile's go build asks for, our own packages aside: what each package
# compiled to, and the small files that say which input led to it. Compiles what is not there yet.
compiled() {
  local outputs ids
  outputs=$(CGO_ENABLED=0 go list -trimpath -export -deps \
    -f '{{if not (and .Module .Module.Main)}}{{.Export}}{{end}}' ./cmd/gitops-compose | sed '/^$/d' | sort -u)
  echo "$outputs"
  ids=$(sed 's,.*/,,; s,-d$,,' <<<"$outputs")
  grep -rlF --include '*-a' -f <(echo "$ids") "$(go env GOCACHE)"
}

# A stand-in for the golang image: busybox for the shell, Go and its caches where that image has them.
stand_in() {
  local image=$1 root=$scratch/root
  scripts/packages.sh busybox-static
  mkdir -p "$root"/bin "$root"/etc/ssl/certs
  mkdir -m 1777 "$root"/tmp
  cp "$(command -v busybox)" "$root"/bin/busybox
  for applet in $("$root"/bin/busybox --list); do ln -s busybox "$root/bin/$applet" 2>/dev/null || true; done
  cp -L /etc/ssl/certs/ca-certificates.crt "$root"/etc/ssl/certs/

  { go env GOROOT; modules; compiled; } >"$scratch/list"
  tar -c -C "$root" --owner 0 --group 0 . -C / \
    --transform "flags=r;s,^$(go env GOROOT | cut -c 2-),usr/local/go," \
    --transform "flags=r;s,^$(go env GOMODCACHE | cut -c 2-),go/pkg/mod," \
    --transform "flags=r;s,^$(go env GOCACHE | cut -c 2-),var/cache/go-build," \
    --verbatim-files-from --files-from <(sed 's,^/,,' "$scratch/list") |
    docker import \
      --change "LABEL $repository=" \
      --change 'ENV PATH=/usr/local/go/bin:/bin GOPATH=/go GOCACHE=/var/cache/go-build GOTOOLCHAIN=local GOPROXY=off' \
      - "$image" >/dev/null
}

exec 9>"/tmp/$repository.lock"
flock --wait 1200 9 # the end-to-end tests and a person may come at the same time

builder=$(sed -n 's/^ARG BUILDER_IMAGE=//p' Dockerfile)
if ! docker image inspect "$builder" >/dev/null 2>&1 && ! timeout 300 docker pull -q "$builder" >/dev/null 2>&1; then
  key=$({ go version; cat go.mod go.sum scripts/image.sh; } | sha256sum | cut -c 1-12)
  builder=$repository:$key
  if ! docker image inspect "$builder" >/dev/null 2>&1; then
    echo "image: no registry at hand, making $builder from this machine's Go" >&2
    docker image ls -q "$repository" | xargs -r docker image rm -f >/dev/null || true
    stand_in "$builder"
  fi
fi

docker build --force-rm --build-arg BUILDER_IMAGE="$builder" --build-arg VERSION="$version" --build-arg COMMIT="$commit" --tag "$tag" .
