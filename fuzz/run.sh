#!/bin/sh
# Runs every fuzz target (or those named) for SECONDS_EACH seconds, 60 unless told, from its corpus.
# What is found is kept in artifacts/TARGET; new seeds stay out of the tree's corpus, in target/.
set -eu
cd "$(dirname "$0")"
seconds="${SECONDS_EACH:-60}"
case "$seconds" in *[!0-9]* | "" | 0) echo "SECONDS_EACH is a number of seconds, not \"$seconds\"" >&2; exit 2 ;; esac

rustup toolchain list | grep -q '^nightly' || rustup toolchain install nightly --profile minimal
cargo fuzz --version >/dev/null 2>&1 || cargo install cargo-fuzz --locked

if [ $# -eq 0 ]; then
    set -- stun rtp rtcp payload dependency_descriptor srtp engine link sdp_offer gateway_frame
fi
for target in "$@"; do
    features=""
    # The offers are the longest input that any target takes.
    longest=4096
    case "$target" in sdp_offer | gateway_frame) features="--features=control" longest=131072 ;; esac
    found="target/corpus/$target"
    mkdir -p "$found"
    echo "$target: $seconds s"
    # shellcheck disable=SC2086
    cargo +nightly fuzz run --fuzz-dir . $features "$target" "$found" "corpus/$target" -- \
        -max_total_time="$seconds" -max_len="$longest" -timeout=10 -rss_limit_mb=2048
done
