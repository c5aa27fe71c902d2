#!/usr/bin/env bash
# Reads, writes and compacts a silo that is four times as large as the memory it may use, compares
# every value, and prints latencies.
#
#   scripts/larger-than-memory.sh [DATA_MIB] [READS] [DIRECTORY]
#
# The limit is a memory cgroup made below the one that this shell is in (version 2 or 1), or below
# SILO_CGROUP_PARENT, which takes root or a delegated cgroup; it counts the page cache too, so
# mapped pages come and go.
# `ulimit -v` is no substitute: it limits addresses, of which mappings need plenty, not memory.
# Without a cgroup (or with SILO_NO_CGROUP=1) the files are dropped from the page cache before
# reading instead: latencies are then those of a cold start, without pressure while it runs.
set -euo pipefail

data_mib=${1:-1024}
reads=${2:-20000}
parent=${3:-${TMPDIR:-/tmp}}
limit=$((data_mib * 1024 * 1024 / 4))
cd "$(dirname "$0")/.."

cargo build -q --release -p datasilo --example larger_than_memory
program=$PWD/target/release/examples/larger_than_memory
work=$(mktemp -d "$parent/larger-than-memory.XXXXXX")
group=
clean_up() {
    rm -rf "$work"
    if [[ -n $group ]]; then rmdir "$group" 2>/dev/null || true; fi
}
trap clean_up EXIT

# The cgroup to make a new one in.
parent_group() {
    local own
    if [[ -n ${SILO_CGROUP_PARENT:-} ]]; then
        echo "$SILO_CGROUP_PARENT"
    elif own=$(grep -E '^[0-9]+:memory:' /proc/self/cgroup); then
        echo "/sys/fs/cgroup/memory${own##*:}"
    else
        own=$(grep -E '^0::' /proc/self/cgroup) && echo "/sys/fs/cgroup${own##*:}"
    fi
}

# Prints the directory of a new cgroup with the limit, or fails.
make_group() {
    [[ -z ${SILO_NO_CGROUP:-} ]] || return 1
    local new knob
    new=$(parent_group)/silo-$$
    mkdir "$new" 2>/dev/null || return 1
    knob=memory.max
    [[ -e $new/memory.limit_in_bytes ]] && knob=memory.limit_in_bytes
    if ! { echo "$limit" > "$new/$knob"; } 2>/dev/null; then
        rmdir "$new"
        return 1
    fi
    echo "$new"
}

# Drops the silo's files from the page cache.
drop_from_cache() {
    local file
    for file in "$work"/silo/*; do
        dd of="$file" oflag=nocache conv=notrunc,fdatasync count=0 status=none
    done
}

"$program" fill "$work/silo" "$data_mib"
if group=$(make_group); then
    echo "limit: $((limit >> 20)) MiB of memory for $data_mib MiB of data, by $group"
    drop_from_cache
    (
        echo "$BASHPID" > "$group/cgroup.procs"
        exec "$program" read "$work/silo" "$reads"
    )
else
    echo "limit: none. No memory cgroup could be made here, so this measures a cold start only:"
    echo "the files are dropped from the page cache, and memory is not short afterwards."
    drop_from_cache
    "$program" read "$work/silo" "$reads"
fi
