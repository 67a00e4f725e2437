#!/bin/sh
# Installs what the tests need, builds, and runs the tests that need no GPU. It ends with the ten slowest and ctest's closing lines.
#
#   tests/run.sh            the release build's tests, without the slow ones: at most 15 minutes on 2 cores
#   tests/run.sh --all      the slow ones too, and the builds with sanitizers: at most 40 minutes
#
# docs/internals/tests.md says which test runs where. Exit code: 0 when every test passed, else another.
set -eu
cd "$(dirname "$0")/.."

all=no
case "$#:${1:-}" in
0:) ;;
1:--all) all=yes ;;
*)
	echo "usage: tests/run.sh [--all]" >&2
	exit 2
	;;
esac

sh deploy/install_dependencies.sh test

build() {
	echo "== building $1"
	cmake --preset "$1" -DPENSTOCK_TESTS=ON >/dev/null
	cmake --build --preset "$1"
}

# The tests of all builds are run by one ctest, so that its closing lines are about all of them. One more at once than there are
# processors, because many wait for a process of their own now and then.
run() {
	folder=$1
	shift
	echo "== testing $folder"
	/usr/bin/python3 tests/ctest.py --test-dir "build/$folder" --output-on-failure --no-tests=error -j $(($(nproc) + 1)) "$@"
}

build release
if [ $all = no ]; then
	run release -LE slow
else
	build asan
	build tsan
	mkdir -p build/all
	echo "subdirs(../release ../asan ../tsan)" >build/all/CTestTestfile.cmake
	run all
fi
