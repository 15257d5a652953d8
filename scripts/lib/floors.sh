#!/usr/bin/env bash
# Who may depend on whom (ARCHITECTURE.md, "The crates and their floors"): a crate only on crates of floors below its own, and in
# the daemon only app.rs and those who start it know the whole of it. Prints what breaks the rule and fails.
#
#   scripts/lib/floors.sh [FOLDER]   the folder of the workspace, else this one
set -euo pipefail
root=$(cd "${1:-$(dirname "$0")/../..}" && pwd)
declare -A floor=(
    [proto-spec]=0 [util]=0 [web-assets]=0
    [engine]=1 [content]=1 [carrier]=1 [api]=1
    [swarm]=2 [relay-server]=2 [cli]=2
    [relay-client]=3
    [daemon]=4
    [tests]=5 [tests/decoders]=5 [tests/sim]=5
)
declare -A folder=(
    [hither-proto]=proto-spec [hither-util]=util [hither-web-assets]=web-assets [hither-engine]=engine [hither-content]=content [hither-carrier]=carrier
    [hither-api]=api [hither-swarm]=swarm [hither-relay-client]=relay-client [hither-daemon]=daemon [hither-cli]=cli
    [hither-relay]=relay-server [hither-tests]=tests [hither-decoders]=tests/decoders [hither-sim]=tests/sim
)
failed=0
complain() {
    echo "$1" >&2
    failed=1
}
members=$(grep -m1 '^members = ' "$root/Cargo.toml" | grep -oE '"[^"]+"' | tr -d '"')
for crate in $members; do
    [ -n "${floor[$crate]:-}" ] || { complain "$crate has no floor: give it one here and in ARCHITECTURE.md"; continue; }
    # What tests and build scripts need goes where it likes.
    for name in $(awk '/^\[/ { on = ($0 == "[dependencies]" || $0 ~ /^\[target.*\.dependencies\]$/) } on' "$root/$crate/Cargo.toml" |
        grep -oE '^hither-[a-z-]+' | sort -u); do
        below=${folder[$name]:-}
        [ -n "$below" ] || { complain "$crate depends on $name, which has no floor"; continue; }
        [ "${floor[$below]}" -lt "${floor[$crate]}" ] ||
            complain "$crate (floor ${floor[$crate]}) must not depend on $below (floor ${floor[$below]})"
    done
done
# Nothing but what starts it, its router and tests sees the whole daemon.
while IFS= read -r line; do
    complain "only app.rs sees the whole daemon: $line"
done < <(cd "$root" && grep -rnE '\bApp\b' --include='*.rs' daemon/src |
    grep -vE '^daemon/src/(app|run|api/mod|.*tests|.*_tests/[a-z]+)\.rs:|^[^:]+:[0-9]+:\s*//' || true)
exit "$failed"
