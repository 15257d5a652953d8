# Shared by the scripts: finds or installs what they need. Sourced, not run.

say() { printf '%s\n' "$*" >&2; }

# Rust itself is the one thing that a person must have.
need_cargo() {
    command -v cargo >/dev/null 2>&1 || {
        say "Rust is needed: see https://rustup.rs"
        exit 2
    }
    if ! command -v cc >/dev/null 2>&1; then
        say "A C compiler is needed (Debian, Ubuntu: apt-get install gcc; Fedora: dnf install gcc)."
        exit 2
    fi
}

# need_tool NAME CRATE VERSION: a cargo sub-command, installed when it is missing. Without optimisation, which would take most of
# the time: what they do is quickly done all the same.
need_tool() {
    command -v "$1" >/dev/null 2>&1 && return
    say "installing $2 $3 (once)"
    CARGO_PROFILE_DEV_DEBUG=none cargo install --debug --locked --quiet "$2" --version "$3"
}

need_nextest() { need_tool cargo-nextest cargo-nextest "^0.9"; }

# The number of processor cores; 2 where nobody says.
cores() { getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2; }
