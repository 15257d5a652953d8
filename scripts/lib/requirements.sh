#!/usr/bin/env bash
# Checks docs/requirements.md: every row has an id that occurs once, a sentence, and tests or the words "not yet"; every
# test that a row names exists in the sources. Tests stand in backquotes as `module::function`; the module is the file or
# a folder that the function is in. A test of the pages, `a-file.test.mjs` in web/tests, is `a_file::its_name`. Needs git and awk; takes another file as an argument, to try the check itself.
set -euo pipefail
cd "$(dirname "$0")/../.."
file=${1:-docs/requirements.md}
[ -f "$file" ] || { printf '%s: there is no such file\n' "$file" >&2; exit 1; }

# Every function of the sources, as PATH:fn NAME( ; files that are not committed yet count too.
functions() {
    git grep --untracked --no-line-number -oE 'fn [a-z0-9_]+[(<]' -- '*.rs'
    git grep --untracked --no-line-number -oE '^test\("[a-z0-9_]+"' -- 'web/tests/*.test.mjs' |
        sed -E 's/^([^:]*)\.test\.mjs:test\("(.*)"$/\1.rs:fn \2(/; :again s/^([^:]*)-/\1_/; t again'
}
functions | awk -v file="$file" '
    function problem(line, words) { printf "%s:%s: %s\n", file, line, words; problems++ }

    # Whether a function of that name is in a file or below a folder called so.
    function exists(module, name,    paths, count, i, wanted) {
        wanted = "(^|/)" module "(\\.rs$|/)"
        count = split(where[name], paths, "\n")
        for (i = 1; i <= count; i++) if (paths[i] ~ wanted) return 1
        return 0
    }

    # The names in backquotes of the last cell; returns how many of them are written as tests.
    function tests(line, id, cell,    named, name, parts, count) {
        while (match(cell, /`[^`]*`/)) {
            name = substr(cell, RSTART + 1, RLENGTH - 2)
            cell = substr(cell, RSTART + RLENGTH)
            if (name !~ /^[a-z0-9_]+(::[a-z0-9_]+)+$/) {
                problem(line, id " names " name ", which is not written as module::function")
                continue
            }
            named++
            count = split(name, parts, "::")
            if (!exists(parts[count - 1], parts[count])) problem(line, id " names the test " name ", which does not exist")
        }
        return named
    }

    FILENAME == "-" {
        path = $0; sub(/:fn .*/, "", path)
        name = $0; sub(/.*:fn /, "", name); sub(/.$/, "", name)
        where[name] = where[name] (where[name] == "" ? "" : "\n") path
        next
    }

    /^\| *[A-Z][0-9]+ *\|/ {
        rows++
        cells = split($0, cell, "|")
        id = cell[2]; gsub(/ /, "", id)
        if (id in first) problem(FNR, id " occurs a second time; the first one is in line " first[id])
        else first[id] = FNR
        if (cells != 5) problem(FNR, id " has " cells - 2 " cells and not three")
        if (cell[3] !~ /[a-z]/) problem(FNR, id " says nothing")
        if (!tests(FNR, id, cell[4]) && cell[4] !~ /not yet/) problem(FNR, id " has neither tests nor \"not yet\"")
        next
    }
    /^\|/ && !/^\| *id *\|/ && !/^\|[-| :]*$/ { problem(FNR, "this is no row: it has no id") }

    END {
        if (!rows) problem(1, "there are no rows")
        exit problems > 0
    }' - "$file" >&2
