#!/usr/bin/env bash
# The corruption tests of datasilo for as long as asked, from a seed.
#
#   scripts/campaign-corruption.sh BUDGET_SECONDS SEED
#
# Runs rounds with rising seeds until the budget is spent; each round flips more bits, cuts at more
# places and makes up more hostile files than the tests do by default. Stops at the first failure
# and says with which seed to see it again.
set -euo pipefail

if [ $# -ne 2 ]; then
    echo "usage: $0 BUDGET_SECONDS SEED" >&2
    exit 2
fi
budget=$1 seed=$2
cd "$(dirname "$0")/.."

tests=(--lib --test corruption --test damaged_files --test damage_stories --test golden --test bad_input)
cargo test --release -p datasilo --no-run "${tests[@]}"
end=$((SECONDS + budget))
while [ "$SECONDS" -lt "$end" ]; do
    left=$((end - SECONDS))
    # Some fifteen tests take this long, two at a time.
    each=$((left / 8 < 600 ? left / 8 : 600))
    [ "$each" -ge 8 ] || each=8
    echo "== seed $seed, $each s for each test, $left s left"
    if ! SILO_CAMPAIGN_SECONDS=$each SILO_SEED=$seed cargo test --release -p datasilo "${tests[@]}"; then
        echo "failed: SILO_CAMPAIGN_SECONDS=$each SILO_SEED=$seed shows it again" >&2
        exit 1
    fi
    seed=$((seed + 1))
done
