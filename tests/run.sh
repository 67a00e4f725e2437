#!/bin/sh
# Installs what the tests need, builds, and runs every test that needs no GPU: first the unit and integration tests
# under the sanitizers, then everything on the release build. The last lines are ctest's.
#
#   tests/run.sh            all of it, about an hour on 2 cores
#   tests/run.sh --fast     the release build only
set -eu
cd "$(dirname "$0")/.."

fast=no
case "${1:-}" in
--fast) fast=yes ;;
"") ;;
*)
	echo "usage: tests/run.sh [--fast]" >&2
	exit 2
	;;
esac

sh deploy/install_dependencies.sh test

# Builds a preset and runs its tests; the rest of the arguments goes to ctest. Every preset runs, so that one run
# shows all that is wrong.
failed=
check() {
	preset=$1
	shift
	echo "== $preset"
	cmake --preset "$preset" -DPENSTOCK_TESTS=ON >/dev/null
	cmake --build --preset "$preset"
	ctest --preset "$preset" --no-tests=error "$@" || failed="$failed $preset"
}

if [ "$fast" = no ]; then
	export ASAN_OPTIONS=detect_leaks=1
	export LSAN_OPTIONS="suppressions=$PWD/tests/lsan.supp print_suppressions=0"
	export TSAN_OPTIONS="suppressions=$PWD/tests/tsan.supp halt_on_error=1"
	# Two at once: most of these wait for one another, and their time limits are six times as long here.
	check asan -L 'unit|integration' -LE slow -j 2
	check tsan -L 'unit|integration' -LE slow -j 2
fi
check release -LE 'bench|fuzz' -j 2
# What measures has the machine to itself.
ctest --preset release --no-tests=error -L bench || failed="$failed bench"
# The fuzz targets, 20 s each, in a build of their own (clang).
ctest --preset release --no-tests=error -L fuzz -j 2 || failed="$failed fuzz"
if [ -n "$failed" ]; then
	echo "tests/run.sh: failed:$failed" >&2
	exit 1
fi
