#!/usr/bin/env bash
# Makes sure that Debian packages are installed:  scripts/packages.sh PACKAGE[:PROGRAM]...
# Where a program is named and is there, wherever it comes from, its package is not needed.
# As root on Debian it installs what is missing; else it says what to type, and fails.
set -euo pipefail

missing=()
for wanted in "$@"; do
  package=${wanted%%:*} program=${wanted#"$package"}
  if [[ -n $program ]] && PATH=$PATH:/usr/sbin command -v "${program#:}" >/dev/null; then
    continue
  fi
  status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
  [[ $status == installed ]] || missing+=("$package")
done
((${#missing[@]})) || exit 0

if ((EUID != 0)) || ! command -v apt-get >/dev/null; then
  echo "packages: missing: ${missing[*]}. As root on Debian: apt-get install --no-install-recommends ${missing[*]}" >&2
  exit 1
fi

# Two targets of make may come here at the same time.
exec 9>/run/lock/gitops-compose-packages.lock
flock --wait 600 9

# A server that a package brings is for our tests, which start it themselves: Debian must not start it as a service.
policy=/usr/sbin/policy-rc.d
if [[ ! -e $policy ]]; then
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod 755 "$policy"
  trap 'rm -f "$policy"' EXIT
fi

echo "packages: installing ${missing[*]}" >&2
export DEBIAN_FRONTEND=noninteractive
apt=(apt-get -q -o DPkg::Lock::Timeout=300)
{
  # An index that can't be refreshed may still know the packages.
  "${apt[@]}" update || true
  "${apt[@]}" install -y --no-install-recommends "${missing[@]}"
} >&2 9>&-
