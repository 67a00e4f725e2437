#!/bin/sh
# bench_exchange with --tls, and certificates made for the run: exchange_tls.sh BENCH_EXCHANGE [OPTION]...
set -eu

program=$1
shift
folder=$(mktemp -d "${TMPDIR:-/tmp}/penstock-bench-XXXXXX")
trap 'rm -rf "$folder"' EXIT
make=$(dirname "$0")/../../deploy/tls/make-certificates.sh
sh "$make" ca "$folder"
sh "$make" issue "$folder" node 127.0.0.1
"$program" --tls "$folder" "$@"
