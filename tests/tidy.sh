#!/bin/sh
# Asks clang-tidy 14 (.clang-tidy says for what) about every C file of the two programs that the release build compiles, and fails when
# it finds something. Other versions find other things, so only Debian 12's is asked; without it, or without that build, the exit
# code is 77, which ctest takes for skipped. Two minutes of one core, in all.
#
#   tests/tidy.sh [FILE...]     of those alone
set -eu
cd "$(dirname "$0")/.."
commands=build/release/compile_commands.json
tidy=$(command -v clang-tidy-14 || echo clang-tidy)
case "$("$tidy" --version 2>/dev/null || true)" in
*"version 14."*) ;;
"")
	echo "clang-tidy is not installed: nothing is checked"
	exit 77
	;;
*)
	echo "clang-tidy is not version 14: nothing is checked"
	exit 77
	;;
esac
if [ ! -e "$commands" ]; then
	echo "$commands is not here: cmake --preset release makes it"
	exit 77
fi
# matrix.c is in gcc's vectors, which clang does not read.
[ $# -gt 0 ] || set -- $(grep -oE '"(file)": "[^"]*/(common|coordinator|stage_server)/[^"]*\.c"' "$commands" | cut -d '"' -f 4 |
	grep -v '/cpu/matrix\.c$' | sort -u)
# A file each: of several, version 14 takes va_start for unknown from the second on.
printf '%s\n' "$@" | xargs -n 1 -P 2 "$tidy" -p "${commands%/*}" --quiet --extra-arg=-Wno-unknown-warning-option 2>/dev/null
