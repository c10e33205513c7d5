# shellcheck shell=bash
# What the scripts share. Sourced, never run.

# The project's root; every script works from there, wherever it was called.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() {
    printf '%s\n' "$*" >&2
}

die() {
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}

has() {
    command -v "$1" >/dev/null 2>&1
}

# Runs a command as root: as we are, or by sudo.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif has sudo; then
        sudo "$@"
    else
        die "this needs root, and there is no sudo: run it as root: $*"
    fi
}

# rustup puts cargo where a shell that was open before does not look.
find_cargo() {
    local home=${1:-$HOME}
    if ! has cargo && [ -x "$home/.cargo/bin/cargo" ]; then
        PATH="$home/.cargo/bin:$PATH"
    fi
    has cargo || die "cargo is not installed: see https://rustup.rs"
}

# Builds the release binary and sets `tunstack` to its path. TUNSTACK_BIN names a binary built elsewhere.
# Under sudo it is the user behind it who builds, so that root owns nothing in the target directory.
build() {
    if [ -n "${TUNSTACK_BIN:-}" ]; then
        tunstack=$TUNSTACK_BIN
        [ -x "$tunstack" ] || die "TUNSTACK_BIN=$tunstack is not a program"
        return
    fi
    local target=${CARGO_TARGET_DIR:-$root/target}
    has cc || die "building needs a C compiler: sudo apt-get install gcc libc6-dev"
    if [ "$(id -u)" = 0 ] && [ -n "${SUDO_USER:-}" ] && [ "$SUDO_USER" != root ]; then
        local home
        home=$(getent passwd "$SUDO_USER" | cut -d: -f6)
        find_cargo "$home"
        sudo -H -u "$SUDO_USER" env "PATH=$PATH" "CARGO_TARGET_DIR=$target" \
            cargo build --release --locked --bin tunstack --manifest-path "$root/Cargo.toml" >&2
    else
        find_cargo
        cargo build --release --locked --bin tunstack --manifest-path "$root/Cargo.toml" >&2
    fi
    # shellcheck disable=SC2034 # the scripts that source this use it
    tunstack=$target/release/tunstack
}
