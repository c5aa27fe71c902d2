#!/usr/bin/env bash
# Coverage-guided fuzzing with libFuzzer, on the stable compiler.
#
#   scripts/fuzz.sh BUDGET_SECONDS SEED [TARGET…]
#
# The budget is shared by the targets: functions of datasilo::fuzzing and bitmap_silo::fuzzing. Inputs
# that found new code are kept under target/fuzz/corpus and used again; one that fails is kept under
# target/fuzz/failures.
set -euo pipefail

if [ $# -lt 2 ]; then
    echo "usage: $0 BUDGET_SECONDS SEED [TARGET…]" >&2
    exit 2
fi
budget=$1 seed=$2
shift 2
datasilo=(manifest frame group chain segment index_run silo_files)
bitmap_silo=(frozen algebra hostile_views column postings operands stored sliced)
targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
    targets=("${datasilo[@]}" "${bitmap_silo[@]}")
fi

cd "$(dirname "$0")/.."
host=$(rustc -vV | sed -n 's/^host: //p')
# --target keeps these flags away from build scripts.
export RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 --cfg fuzzing"
export CARGO_TARGET_DIR="$PWD/target/fuzz"

crate_of() {
    case " ${bitmap_silo[*]} " in
        *" $1 "*) echo bitmap-silo ;;
        *) echo datasilo ;;
    esac
}
for crate in $(for target in "${targets[@]}"; do crate_of "$target"; done | sort -u); do
    cargo build --release --manifest-path "crates/$crate/fuzz/Cargo.toml" --target "$host"
done

share=$((budget / ${#targets[@]}))
[ "$share" -ge 1 ] || share=1
mkdir -p "$CARGO_TARGET_DIR/failures"
for target in "${targets[@]}"; do
    fuzzer="$CARGO_TARGET_DIR/$host/release/$(crate_of "$target")-fuzz"
    corpus="$CARGO_TARGET_DIR/corpus/$target"
    mkdir -p "$corpus"
    echo "== $target: $share s, seed $seed"
    log="$CARGO_TARGET_DIR/$target.log"
    status=0
    SILO_FUZZ_TARGET=$target "$fuzzer" "$corpus" \
        -max_total_time="$share" -seed="$seed" -max_len=4096 -len_control=0 -timeout=20 -rss_limit_mb=2048 \
        -malloc_limit_mb=1024 -artifact_prefix="$CARGO_TARGET_DIR/failures/$target-" \
        -print_final_stats=1 > "$log" 2>&1 || status=$?
    grep -E 'ERROR|panicked|SUMMARY|DONE|Test unit written' "$log" || true
    if [ "$status" -ne 0 ]; then
        echo "$target failed: see $log and $CARGO_TARGET_DIR/failures" >&2
        exit 1
    fi
done
