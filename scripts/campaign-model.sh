#!/usr/bin/env bash
# Runs the model, behaviour, concurrency, process and soak tests of datasilo for a while.
#
#   scripts/campaign-model.sh BUDGET_SECONDS SEED
#
# The seed decides what is tried; a failure prints the seed to start from. Threads and processes
# are scheduled by the system, so their tests are not repeated exactly.
set -euo pipefail

if [[ $# -ne 2 || ! $1 =~ ^[0-9]+$ || ! $2 =~ ^[0-9]+$ ]]; then
    echo "usage: $0 BUDGET_SECONDS SEED" >&2
    exit 2
fi
budget=$1
export SILO_SEED=$2
cd "$(dirname "$0")/.."

cargo test -p datasilo --no-run --test model --test bulk --test merge --test stories \
    --test concurrency --test processes --test soak
test_binary() { cargo test -q -p datasilo --test "$@"; }

started=$SECONDS
# Half of the time for the model, whose three tests run side by side.
SILO_CAMPAIGN_SECONDS=$((budget / 2)) test_binary model
SILO_CAMPAIGN_SECONDS=$((budget / 6)) test_binary concurrency
SILO_CAMPAIGN_SECONDS=$((budget / 6)) test_binary processes
SILO_CAMPAIGN_SECONDS=$((budget / 6)) test_binary soak -- --nocapture
# Tests with threads but no clock of their own fill what is left.
rounds=0
while ((rounds == 0 || SECONDS - started < budget)); do
    test_binary bulk
    test_binary merge
    test_binary stories
    rounds=$((rounds + 1))
done
echo "fine: $((SECONDS - started)) s from seed $SILO_SEED"
