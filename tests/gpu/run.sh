#!/bin/sh
# Checks and measures the CUDA device on this machine's GPU, in under 8 minutes, and asks nothing: the conformance tests,
# training beside the CPU device and PyTorch, faults, compute-sanitizer, and throughput beside PyTorch.
#
#   tests/gpu/run.sh [--bundle FILE | --build DIR] [--json FILE] [--part NAME]... [--device cuda:N] [--strict]
#   tests/gpu/run.sh --device cpu | --stand-in [...]: rehearses the suite itself, with small sizes, where there is no GPU
#
# The programs come from the bundle FILE (deploy/bundle.sh --with-tests), from the build folder DIR, from the bundle that this
# script was unpacked from, or from build/release, which is built here where CMake and nvcc are found. --stand-in takes those on
# the stand-in for CUDA (tests/cuda_stand_in), which only a build folder has. Needs python3 (3.9 or later; its standard library);
# PyTorch is compared to where python3, python, /opt/conda's or the one that PENSTOCK_PYTHON names has torch.
#
# Exit codes: 0 every check passed; 1 one failed; 2 wrong usage; 77 there is no GPU, and nothing was run; 130, 143 it was ended
# by SIGINT, SIGTERM, and the results are of what was done until then. What is slower than docs/performance.md aims at is shown,
# and fails with --strict only.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)

bundle=
build=
json=
device=
stand_in=
arguments=
usage() {
	sed -n '5,6s/^# *//p' "$0" >&2
	exit 2
}
wrong() {
	echo "tests/gpu/run.sh: $*" >&2
	exit 2
}
while [ $# -gt 0 ]; do
	case "$1" in
	--bundle | --build | --device | --json | --part)
		[ -n "${2:-}" ] || wrong "$1 wants a value"
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
		--part)
			case "$2" in
			device | conformance | throughput | training | pipeline | faults | sanitizer) arguments="$arguments --part $2" ;;
			*) wrong "--part $2: there are device, conformance, throughput, training, pipeline, faults and sanitizer" ;;
			esac
			;;
		esac
		shift 2
		;;
	--stand-in)
		stand_in=yes
		arguments="$arguments --stand-in"
		shift
		;;
	--strict)
		arguments="$arguments --strict"
		shift
		;;
	--help)
		sed -n '2,/^set/s/^# \{0,1\}//p' "$0"
		exit 0
		;;
	*)
		echo "tests/gpu/run.sh: $1 is unknown" >&2
		usage
		;;
	esac
done
device=${device:-cuda:0}
json=${json:-$PWD/gpu-results.json}
case "$device" in
cpu | cuda) ;;
cuda: | cuda:*[!0-9]*) wrong "--device $device: there are cuda:N and cpu" ;;
cuda:*) ;;
*) wrong "--device $device: there are cuda:N and cpu" ;;
esac
[ -z "$bundle" ] || [ -z "$build" ] || wrong "--bundle and --build: one of them has the programs"
[ -z "$bundle" ] || [ -f "$bundle" ] || wrong "--bundle $bundle: there is no such file"
[ -z "$build" ] || [ -d "$build" ] || wrong "--build $build: there is no such folder"
[ -z "$stand_in" ] || [ "$device" != cpu ] || wrong "--stand-in is for CUDA: leave --device cpu out"
# Before the run, not after 8 minutes of it.
folder=$(dirname "$json")
[ -d "$folder" ] && [ -w "$folder" ] || wrong "--json $json: $folder is not a folder that can be written to"
[ ! -d "$json" ] || wrong "--json $json: it is a folder"
fail() {
	echo "tests/gpu/run.sh: $*" >&2
	exit 1
}

# ---- is there a GPU? The CPU device and the stand-in are for trying this suite itself.
has_gpu() {
	for node in /dev/nvidia[0-9]* /dev/dxg; do
		[ ! -c "$node" ] || return 0
	done
	command -v nvidia-smi >/dev/null && timeout 30 nvidia-smi -L 2>/dev/null | grep -q '^GPU '
}
if [ "$device" != cpu ] && [ -z "$stand_in" ] && ! has_gpu; then
	echo "tests/gpu/run.sh: no NVIDIA GPU here (no /dev/nvidia0, and nvidia-smi lists none): nothing was run"
	exit 77
fi
python=
for candidate in python3 python "${PENSTOCK_PYTHON:-python3}" /opt/conda/bin/python3; do
	if [ -z "$python" ] && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 9))' 2>/dev/null; then
		python=$candidate
	fi
done
[ -n "$python" ] || fail "python3 of 3.9 or later is missing; its standard library is enough"

# ---- the programs
scratch=$(mktemp -d) || fail "no folder for temporary files: name one in TMPDIR"
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
if [ -n "$bundle" ]; then
	tar -C "$scratch" -xf "$bundle" || fail "$bundle cannot be unpacked"
	root=$(echo "$scratch"/penstock-*)
	[ -d "$root/bin/tests" ] || fail "$bundle has no tests; make it with deploy/bundle.sh --with-tests"
elif [ -z "$build" ] && [ ! -x "$root/bin/penstockd" ]; then
	build=$root/build/release
	if [ -n "$stand_in" ] || [ "$device" = cpu ]; then
		: # what is there
	elif command -v cmake >/dev/null && { command -v nvcc >/dev/null || [ -x /usr/local/cuda/bin/nvcc ]; }; then
		echo "== building in $build"
		(cd "$root" && cmake --preset release -DPENSTOCK_CUDA=ON && cmake --build --preset release) >"$scratch/build.log" 2>&1 || {
			tail -n 20 "$scratch/build.log" >&2
			fail "it does not build; give a bundle: --bundle FILE"
		}
	elif [ ! -x "$build/stage_server/penstockd" ]; then
		fail "there is no bundle, no build, and no CMake with nvcc to build with: give a bundle, --bundle FILE"
	fi
fi
if [ -n "$stand_in" ]; then
	[ -n "$build" ] || fail "a bundle has no stand-in for CUDA: name a build folder, --build DIR"
	tests=$build/tests/cuda_stand_in
	penstock=$build/coordinator/penstock penstockd=$tests/penstockd_on_stand_in bench=$tests/bench_single_stage_on_stand_in
elif [ -n "$build" ]; then
	tests=$build/tests/unit/device
	penstock=$build/coordinator/penstock penstockd=$build/stage_server/penstockd bench=$build/tests/bench/bench_single_stage
else
	tests=$root/bin/tests
	penstock=$root/bin/penstock penstockd=$root/bin/penstockd bench=$tests/bench_single_stage
fi
for program in "$penstock" "$penstockd" "$bench"; do
	[ -x "$program" ] || fail "$program is not here: it was not built"
done

# ---- the suite, to which signals are passed on, so that it ends what it began and writes what it has
# shellcheck disable=SC2086 # a list of words
"$python" "$root/tests/gpu/suite.py" --penstock "$penstock" --penstockd "$penstockd" --tests "$tests" --bench "$bench" \
	--json "$json" --device "$device" $arguments &
suite=$!
trap 'kill -TERM "$suite" 2>/dev/null || true' TERM HUP
trap 'kill -INT "$suite" 2>/dev/null || true' INT
while :; do
	code=0
	wait "$suite" || code=$?
	kill -0 "$suite" 2>/dev/null || break
done
exit $code
