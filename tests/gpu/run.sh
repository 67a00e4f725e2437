#!/bin/sh
# Checks and measures the CUDA device on this machine's GPU, in under 8 minutes, and asks nothing: the conformance tests,
# training beside the CPU device and PyTorch, faults, compute-sanitizer, and throughput beside PyTorch.
#
#   tests/gpu/run.sh [--bundle FILE | --build DIR] [--json FILE] [--part NAME]... [--device cuda:N] [--strict]
#
# The programs come from the bundle FILE (deploy/bundle.sh --with-tests), from the build folder DIR, from the bundle that this
# script was unpacked from, or from build/release, which is built here where CMake and nvcc are found. Needs python3
# (its standard library); PyTorch is compared to where python3, or the one that PENSTOCK_PYTHON names, can import torch.
#
# Exit codes: 0 every check passed; 1 one failed; 2 wrong usage; 77 there is no GPU, and nothing was run. What is slower than
# docs/performance.md aims at is shown, and fails with --strict only.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)

bundle=
build=
json=
device=
arguments=
usage() {
	sed -n '5s/^# *//p' "$0" >&2
	exit 2
}
while [ $# -gt 0 ]; do
	case "$1" in
	--bundle | --build | --device | --json | --part)
		[ $# -ge 2 ] || usage
		case "$1" in
		--bundle) bundle=$2 ;;
		--build) build=$2 ;;
		--device) device=$2 ;;
		--json)
			case "$2" in
			/*) json=$2 ;;
			*) json=$PWD/$2 ;;
			esac
			;;
		--part) arguments="$arguments --part $2" ;;
		esac
		shift 2
		;;
	--strict)
		arguments="$arguments --strict"
		shift
		;;
	*) usage ;;
	esac
done
[ -z "$bundle" ] || [ -z "$build" ] || usage
fail() {
	echo "tests/gpu/run.sh: $*" >&2
	exit 1
}

# ---- is there a GPU? A device that is not CUDA's is for trying this suite itself.
has_gpu() {
	for node in /dev/nvidia[0-9]* /dev/dxg; do
		[ ! -c "$node" ] || return 0
	done
	command -v nvidia-smi >/dev/null && timeout 30 nvidia-smi -L 2>/dev/null | grep -q '^GPU '
}
case "${device:-cuda}" in
cuda*)
	if ! has_gpu; then
		echo "tests/gpu/run.sh: no NVIDIA GPU here (no /dev/nvidia0, and nvidia-smi lists none): nothing was run"
		exit 77
	fi
	;;
esac

python=$(command -v python3 || true)
[ -n "$python" ] || fail "python3 is missing; its standard library is enough"

# ---- the programs
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
if [ -n "$bundle" ]; then
	tar -C "$scratch" -xf "$bundle" || fail "$bundle cannot be unpacked"
	root=$(echo "$scratch"/penstock-*)
	[ -d "$root/bin/tests" ] || fail "$bundle has no tests; make it with deploy/bundle.sh --with-tests"
elif [ -z "$build" ] && [ ! -x "$root/bin/penstockd" ]; then
	build=$root/build/release
	if command -v cmake >/dev/null && { command -v nvcc >/dev/null || [ -x /usr/local/cuda/bin/nvcc ]; }; then
		echo "== building in $build"
		(cd "$root" && cmake --preset release -DPENSTOCK_CUDA=ON && cmake --build --preset release) >"$scratch/build.log" 2>&1 || {
			tail -n 20 "$scratch/build.log" >&2
			fail "it does not build; give a bundle: --bundle FILE"
		}
	elif [ ! -x "$build/stage_server/penstockd" ]; then
		fail "there is no bundle, no build, and no CMake with nvcc to build with: give a bundle, --bundle FILE"
	fi
fi
if [ -n "$build" ]; then
	programs="--penstock $build/coordinator/penstock --penstockd $build/stage_server/penstockd --tests $build/tests/unit/device
		--bench $build/tests/bench/bench_single_stage"
else
	programs="--penstock $root/bin/penstock --penstockd $root/bin/penstockd --tests $root/bin/tests
		--bench $root/bin/tests/bench_single_stage"
fi
code=0
# shellcheck disable=SC2086 # lists of words on purpose
"$python" "$root/tests/gpu/suite.py" $programs --json "${json:-$PWD/gpu-results.json}" --device "${device:-cuda:0}" $arguments || code=$?
exit $code
