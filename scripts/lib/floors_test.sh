#!/usr/bin/env bash
# Provokes scripts/lib/floors.sh in a copy: it must fail for each way to break the rule, and pass without.
set -euo pipefail
cd "$(dirname "$0")/../.."
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
fresh() {
    rm -rf "${copy:?}"/*
    cp Cargo.toml "$copy/"
    for manifest in */Cargo.toml tests/decoders/Cargo.toml tests/sim/Cargo.toml; do
        mkdir -p "$copy/$(dirname "$manifest")"
        cp "$manifest" "$copy/$manifest"
    done
    cp -r daemon/src "$copy/daemon/src"
}
must_fail() {
    if scripts/lib/floors.sh "$copy" 2>/dev/null; then
        echo "floors.sh does not notice: $1" >&2
        exit 1
    fi
}
fresh
scripts/lib/floors.sh "$copy"
sed -i 's/^\[dependencies\]$/[dependencies]\nhither-daemon.workspace = true/' "$copy/swarm/Cargo.toml"
must_fail "a dependency on a floor above"
fresh
sed -i 's/^\[dependencies\]$/[dependencies]\nhither-carrier = { path = "..\/carrier" }/' "$copy/content/Cargo.toml"
must_fail "a dependency on the same floor"
fresh
sed -i 's/"util", /"util", "shed", /' "$copy/Cargo.toml"
must_fail "a crate without a floor"
fresh
echo 'fn everything(_: &crate::app::App) {}' >>"$copy/daemon/src/publish.rs"
must_fail "a function that takes the whole daemon"
