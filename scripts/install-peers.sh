#!/usr/bin/env bash
# Installs what the lab's peers need beside crates: RocksDB with its headers and libclang (Debian packages), and DuckDB's
# wheel in target/peers. Then prints the environment and the commands.
set -euo pipefail
cd "$(dirname "$0")/.."
if ! { [ -e /usr/include/rocksdb/c.h ] && ls /usr/lib/llvm-*/lib/libclang.so* >/dev/null 2>&1; }; then
  sudo=$([ "$(id -u)" = 0 ] || echo sudo)
  $sudo apt-get update -qq
  $sudo apt-get install -y -qq --no-install-recommends librocksdb-dev libclang-dev clang
fi
[ -x target/peers/bin/python ] || python3 -m venv target/peers
target/peers/bin/pip install --quiet --disable-pip-version-check duckdb
cat <<'END'
export ROCKSDB_LIB_DIR=/usr/lib/x86_64-linux-gnu ROCKSDB_INCLUDE_DIR=/usr/include
cargo run --release -p bench-lab --features peers-kv -- peers kv
cargo run --release -p bench-lab --features peers-bitmap -- peers bitmap
cargo run --release -p bench-lab --features peers-query -- peers query
END
