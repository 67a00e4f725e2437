#!/bin/sh
# Fails when a C file is not what .clang-format makes of it, and names it. Other versions of clang-format differ in details, so
# only Debian 12's is asked; without it the exit code is 77, which ctest takes for skipped.
set -eu
cd "$(dirname "$0")/.."
format=$(command -v clang-format-14 || echo clang-format)
case "$("$format" --version 2>/dev/null || true)" in
*"version 14."*) ;;
"")
	echo "clang-format is not installed: nothing is checked"
	exit 77
	;;
*)
	echo "clang-format is not version 14: nothing is checked"
	exit 77
	;;
esac
find common coordinator stage_server tests -name '*.[ch]' -print0 | xargs -0 "$format" --dry-run -Werror
