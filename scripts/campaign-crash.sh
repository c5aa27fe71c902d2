#!/bin/sh
# Runs the crash, kill and fault tests for as long as asked, from a seed.
#
#   scripts/campaign-crash.sh BUDGET_SECONDS SEED
#
# The budget is shared between the randomised tests; each reads SILO_CAMPAIGN_SECONDS and SILO_SEED
# and prints what it did. A failure prints the seed of its case, and where its state was kept.
set -eu

if [ $# -ne 2 ]; then
    echo "usage: $0 BUDGET_SECONDS SEED" >&2
    exit 2
fi
budget=$1
seed=$2
cd "$(dirname "$0")/.."

cargo test --quiet -p datasilo --no-run --test crash --test kill --test faults --test full_disk

share=$((budget / 4))
[ "$share" -gt 0 ] || share=1
failed=0

run() {
    binary=$1
    test=$2
    echo "== $binary: $test ($share s, seed $seed)"
    SILO_CAMPAIGN_SECONDS=$share SILO_SEED=$seed \
        cargo test --quiet -p datasilo --test "$binary" -- --exact "$test" --nocapture || failed=1
}

echo "campaign of $budget s from seed $seed at $(git rev-parse --short HEAD 2>/dev/null || echo 'no commit')"
run crash lives_full_of_crashes_lose_nothing_that_was_promised
run crash long_random_histories_recover_at_sampled_cuts
run kill what_was_acknowledged_survives_kills
run faults random_histories_survive_random_faults
echo "== full disk (once)"
cargo test --quiet -p datasilo --test full_disk -- --nocapture || failed=1

if [ "$failed" -ne 0 ]; then
    echo "FAILED: run again with the same seed to see it again"
    exit 1
fi
echo "passed"
