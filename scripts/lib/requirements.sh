#!/usr/bin/env bash
# Checks docs/requirements.md: every row has an id that occurs once, a sentence, and tests or the words "not yet"; every
# test that a row names exists in the sources. Tests stand in backquotes as `module::function`; the module is the file or
# the folder that the function is in. Needs git and awk; takes another file as an argument, to try the check itself.
set -euo pipefail
cd "$(dirname "$0")/../.."
file=${1:-docs/requirements.md}
[ -f "$file" ] || { printf '%s: there is no such file\n' "$file" >&2; exit 1; }

# Each row as ID<tab>SENTENCE<tab>TESTS, with the number of its line in front.
rows=$(awk -F'|' '/^\| *[A-Z][0-9]+ *\|/ {
    for (i = 2; i <= 4; i++) gsub(/^ +| +$/, "", $i)
    printf "%d\t%s\t%s\t%s\n", NR, $2, $3 == "" ? "-" : $3, $4 == "" ? "-" : $4
}' "$file")
# Every function, as FILE:NAME; files that are not committed yet count too.
functions=$(git grep --untracked --no-line-number -oE 'fn [a-z0-9_]+[(<]' -- '*.rs' | sed -E 's/:fn ([a-z0-9_]+).$/:\1/')

problems=0
problem() { # problem LINE WORDS
    printf '%s:%s: %s\n' "$file" "$1" "$2" >&2
    problems=$((problems + 1))
}

[ -n "$rows" ] || problem 1 "there are no rows"
while IFS=$'\t' read -r id lines; do
    problem "${lines##* }" "$id occurs more than once (lines $lines)"
done < <(awk -F'\t' '$2 != "" { lines[$2] = lines[$2] (lines[$2] == "" ? "" : " ") $1; count[$2]++ }
    END { for (id in count) if (count[id] > 1) printf "%s\t%s\n", id, lines[id] }' <<<"$rows")

while IFS=$'\t' read -r line id sentence tests; do
    [ -n "$id" ] || continue
    [ "$sentence" != - ] || problem "$line" "$id says nothing"
    named=$(grep -oE '`[a-z0-9_]+(::[a-z0-9_]+)+`' <<<"$tests" | tr -d '`' || true)
    if [ -z "$named" ] && ! grep -q 'not yet' <<<"$tests"; then
        problem "$line" "$id has neither tests nor \"not yet\""
    fi
    # What looks like a test and is written otherwise would not be checked.
    while read -r odd; do
        [ -z "$odd" ] || problem "$line" "$id names $odd, which is not written as module::function"
    done < <(grep -oE '`[^`]*`' <<<"$tests" | tr -d '`' | grep -vxE '[a-z0-9_]+(::[a-z0-9_]+)+' || true)
    for test in $named; do
        module=${test%::*} name=${test##*::}
        grep -qE "(^|/)${module##*::}(\.rs|/[^:]*):$name\$" <<<"$functions" ||
            problem "$line" "$id names the test $test, which does not exist"
    done
done <<<"$rows"

if [ "$problems" -gt 0 ]; then
    printf '%s in %s\n' "$problems problem(s)" "$file" >&2
    exit 1
fi
