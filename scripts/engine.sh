#!/usr/bin/env bash
# Makes sure that a Docker engine runs, and says where. An engine that answers is used as it is, never changed.
# Else, as root on Debian, the packages are installed and the engine is started with room for 1,000 networks
# (with its defaults an engine has about 30 to give). Else it says in one line what to do, and fails.
set -euo pipefail
cd "$(dirname "$0")/.."

log=/var/log/gitops-compose-engine.log
lock=/run/lock/gitops-compose-engine.lock
patience=60 # seconds for the engine to come up; it takes 2 on a small machine

answers() { timeout 10 docker version --format '{{.Server.Version}}' 2>/dev/null; }

fail() {
  echo "engine: $*" >&2
  exit 1
}

found() {
  echo "engine: $1 at ${DOCKER_HOST:-unix:///var/run/docker.sock}"
  # The images of the tests and of the demo are built from busybox; whoever needs none can do without it.
  scripts/packages.sh busybox-static || true
  exit 0
}

# 1,024 networks of 256 addresses (a /14 has 2^(24-14) of size 24). The engine leaves out single subnets that are
# in use, but a route over the whole pool would leave it none: take a pool that no route touches. Routes of every
# table count, so the machine's own addresses do too.
pool() {
  local base
  for base in 10.200.0.0/14 10.96.0.0/14 172.24.0.0/14 10.16.0.0/14; do
    command -v ip >/dev/null || break
    [[ -n $(ip -4 route show table all root "$base") ]] && continue
    ip -4 route show table all match "$base" | grep -qv '^default' && continue
    echo "$base"
    return
  done
  echo "${base:-10.200.0.0/14}"
}

start() {
  if [[ -d /run/systemd/system ]]; then
    systemctl start docker
    return
  fi
  local options=()
  grep -qs default-address-pools /etc/docker/daemon.json ||
    options=(--default-address-pool "base=$(pool),size=24")
  # A session and streams of its own, so that the end of this terminal isn't the end of the engine; and without our
  # lock, which it would hold for ever. It writes /var/run/docker.pid itself.
  setsid --fork nohup dockerd "${options[@]}" </dev/null >>"$log" 2>&1 9>&-
}

if version=$(answers); then found "$version"; fi

[[ -z ${DOCKER_HOST:-} ]] || fail "nothing answers at DOCKER_HOST=$DOCKER_HOST: start that engine, or unset DOCKER_HOST"
((EUID == 0)) || fail "no engine answers: start Docker and join its group (usermod -aG docker $(id -un)), or run this as root on Debian"

exec 9>"$lock"
flock --wait 900 9 || fail "another $0 has held $lock for 15 minutes"
if version=$(answers); then found "$version"; fi # by the one that held the lock

if ! command -v dockerd >/dev/null; then
  grep -qs '^ID=debian$' /etc/os-release || fail "no engine answers, and this is not Debian: install Docker and start it"
  if [[ -d /run/systemd/system && ! -e /etc/docker/daemon.json ]]; then
    mkdir -p /etc/docker
    printf '{"default-address-pools": [{"base": "%s", "size": 24}]}\n' "$(pool)" >/etc/docker/daemon.json
  fi
  scripts/packages.sh docker.io iptables busybox-static 9>&-
fi

echo "engine: starting dockerd, its log is $log" >&2
start
for ((deadline = SECONDS + patience; SECONDS < deadline; )); do
  if version=$(answers); then found "$version"; fi
  sleep 0.2
done
[[ -e $log ]] && tail -n 20 "$log" >&2
fail "dockerd did not answer within $patience s, see above"
