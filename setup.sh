#!/usr/bin/env bash
# Installs from Debian and crates.io what a verb of the Makefile needs; quick when it is there.
#   setup.sh build   protoc, for the etcd client
#   setup.sh bench   build, and iproute2 and ethtool for networks of its own
#   setup.sh test    bench, and etcd, PostgreSQL, NATS, browsers and Node.js for the end-to-end tests
#   setup.sh deny    cargo-deny
set -euo pipefail
cd "$(dirname "$0")"

wanted=()
need() { # need COMMAND-OR-FILE PACKAGE...
  local probe=$1
  shift
  command -v "$probe" >/dev/null 2>&1 || [ -e "$probe" ] || wanted+=("$@")
}

install_wanted() {
  [ ${#wanted[@]} -eq 0 ] && return
  if [ "$(id -u)" -ne 0 ]; then
    echo "missing: ${wanted[*]} — run this as root, or install them yourself" >&2
    exit 1
  fi
  # Packages that bring a service must not start it: tests start their own.
  local policy=/usr/sbin/policy-rc.d made=
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
    made=1
  fi
  trap '[ -z "${made:-}" ] || rm -f /usr/sbin/policy-rc.d' EXIT
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${wanted[@]}" >/dev/null
}

build() {
  need protoc protobuf-compiler
  need /usr/include/google/protobuf/descriptor.proto libprotobuf-dev
  need cc gcc libc6-dev
}

bench() {
  build
  need ip iproute2
  need ethtool ethtool
}

tests() {
  need etcd etcd-server
  # Its programs stand in a folder of the version's own; no cluster is made, tests make theirs.
  ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || wanted+=(postgresql)
  need nats-server nats-server
  need chromium chromium
  need firefox-esr firefox-esr
  need node nodejs
  need npm npm
  bench
}

packages_of_e2e() {
  [ -e e2e/node_modules/.package-lock.json ] && [ e2e/node_modules/.package-lock.json -nt e2e/package-lock.json ] ||
    (cd e2e && npm ci --silent --no-audit --no-fund)
}

case "${1:-build}" in
  build) build; install_wanted ;;
  bench) bench; install_wanted ;;
  test) tests; install_wanted; packages_of_e2e ;;
  deny) command -v cargo-deny >/dev/null || cargo install --quiet --locked cargo-deny ;;
  *)
    echo "usage: setup.sh build|bench|test|deny" >&2
    exit 2
    ;;
esac
