#!/bin/sh
# Where there is no GPU, run.sh says so, runs nothing, and exits with 77. Skipped (77 as well) where there is one.
set -eu
for node in /dev/nvidia[0-9]* /dev/dxg; do
	[ ! -c "$node" ] || exit 77
done
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
code=0
here=$(cd "$(dirname "$0")" && pwd)
said=$(cd "$scratch" && sh "$here/run.sh" --json "$scratch/results.json" 2>&1) || code=$?
[ "$code" = 77 ] || {
	echo "exit code $code, expected 77: $said"
	exit 1
}
case "$said" in
*"no NVIDIA GPU here"*) ;;
*)
	echo "it does not say that there is no GPU: $said"
	exit 1
	;;
esac
[ ! -e "$scratch/results.json" ] || {
	echo "it wrote results"
	exit 1
}
