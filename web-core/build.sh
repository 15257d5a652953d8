#!/bin/sh
# Builds the page's core for WebAssembly and puts it where the page's build takes it: web/src/core/core.wasm, which reads shares,
# and web/src/core/device.wasm, which also sends, asks and pairs (the feature "device"): who opens a link loads only the small one.
#
# Needs: a clang that knows the target wasm32 (ring has C in it), and Rust's library for wasm32-unknown-unknown:
#   rustup target add wasm32-unknown-unknown
# or, from Debian alone, the packages rustc-web, cargo-web, libstd-rust-web-dev-wasm32, rust-web-src, clang and lld; then
#   BUILD_STD=1 web-core/build.sh
# builds the library from its sources. CC_wasm32_unknown_unknown and AR_wasm32_unknown_unknown name other tools than clang and ar.
set -eu
cd "$(dirname "$0")"

target=wasm32-unknown-unknown
export CC_wasm32_unknown_unknown="${CC_wasm32_unknown_unknown:-clang}"
export AR_wasm32_unknown_unknown="${AR_wasm32_unknown_unknown:-ar}"
# Nobody reads what a panic or {:?} would say in a page: without their texts a twentieth less goes over the wire. The two flags are not
# stable yet, which RUSTC_BOOTSTRAP allows.
export RUSTC_BOOTSTRAP=1
# simd128: BLAKE3 is three times as fast with it. Every browser that has what the page needs has it.
export RUSTFLAGS="${RUSTFLAGS:-} -C target-feature=+simd128,+bulk-memory -Z location-detail=none -Z fmt-debug=none"

if [ "${BUILD_STD:-}" ]; then
    std="-Z build-std=std,panic_abort"
elif [ -d "$(rustc --print sysroot)/lib/rustlib/$target" ]; then
    std=""
else
    echo "Rust's library for $target is missing: rustup target add $target" >&2
    echo "(or see the beginning of $0 for Debian's packages)" >&2
    exit 1
fi

mkdir -p ../web/src/core
built="${CARGO_TARGET_DIR:-target}/$target/release/hither_web_core.wasm"
for module in device core; do
    features=""
    [ $module = core ] || features="--features $module"
    # shellcheck disable=SC2086 # none, one or two flags
    cargo build --locked --release --target $target --lib $std $features
    to=../web/src/core/$module.wasm
    # No wasm-opt (Debian's 108 was tried): the module is a sixth smaller with it, and what goes over the wire is larger.
    cp "$built" $to
    echo "$module bytes: $(wc -c <$to)"
    echo "$module gzip -9: $(gzip -9 -c $to | wc -c)"
    if command -v brotli >/dev/null; then echo "$module brotli: $(brotli -c $to | wc -c)"; fi
done
