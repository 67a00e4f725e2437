#!/bin/sh
# Runs the fuzz targets: each for SECONDS, one after the other, from its seeds (corpus/NAME, what make_seeds.py writes, and what earlier
# runs found, which is kept in build/fuzz/corpus/NAME). A finding ends it: the input is kept as build/fuzz/findings/NAME-*.
#
#   tests/fuzz/run.sh [--seed=N] SECONDS [TARGET...]     --seed: the same run each time, on a machine as fast, that keeps nothing
#   tests/fuzz/run.sh build
#
# It exits with 77 where clang's libFuzzer is missing. --built: what there is is run, without a look at the sources.
set -eu
cd "$(dirname "$0")/../.."
build=build/fuzz
built=no
seed=0
usage() {
	echo "usage: $0 [--seed=N] SECONDS [TARGET...], or $0 build" >&2
	exit 2
}
while [ $# -gt 0 ]; do
	case "$1" in
	--built) built=yes ;;
	--seed=*) seed=${1#--seed=} ;;
	*) break ;;
	esac
	shift
done
[ $# -gt 0 ] || usage
seconds=$1
shift

compiler=clang
if ! echo 'int LLVMFuzzerTestOneInput(const char *data, unsigned long size) { return 0; }' |
	$compiler -fsanitize=fuzzer,address,undefined -fopenmp -xc -o /dev/null - 2>/dev/null; then
	echo "$compiler with libFuzzer and OpenMP is not installed: deploy/install_dependencies.sh test" >&2
	exit 77
fi
if [ "$built" = no ]; then
	cmake --preset fuzz >/dev/null
	cmake --build --preset fuzz
	/usr/bin/python3 tests/fuzz/make_seeds.py $build/seeds
fi
[ "$seconds" != build ] || exit 0
case "$seconds" in
"" | *[!0-9]*) usage ;;
esac

[ $# -gt 0 ] || set -- $(cd $build/tests/fuzz && ls -d fuzz.* | sed 's/^fuzz\.//')
export ASAN_OPTIONS="detect_leaks=1:${ASAN_OPTIONS:-}"
export UBSAN_OPTIONS="print_stacktrace=1:${UBSAN_OPTIONS:-}"
found=$(mktemp -d)
trap 'rm -rf "$found"' EXIT
mkdir -p $build/findings
for target; do
	echo "== $target"
	set -- -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 -artifact_prefix=$build/findings/"$target"- \
		-print_final_stats=1 -seed="$seed"
	[ ! -f tests/fuzz/"$target".dict ] || set -- "$@" -dict=tests/fuzz/"$target".dict
	# libFuzzer adds what it finds to the first folder.
	if [ "$seed" = 0 ]; then
		mkdir -p $build/corpus/"$target"
		set -- "$@" $build/corpus/"$target"
	else
		mkdir -p "$found/$target"
		set -- "$@" "$found/$target"
	fi
	for folder in tests/fuzz/corpus/"$target" $build/seeds/"$target"; do
		[ ! -d "$folder" ] || set -- "$@" "$folder"
	done
	log=$build/findings/"$target".log
	if ! $build/tests/fuzz/fuzz."$target" "$@" 2>"$log"; then
		tail -n 60 "$log"
		exit 1
	fi
	grep -a DONE "$log"
done
