#!/bin/sh
# From a bare Debian 12 or 13 to a training run: installs what is needed, builds, starts two stage daemons on loopback, trains
# AlexNet cut into two stages for 40 steps, stops the daemons, and sums up the run.
#
#   deploy/quickstart.sh [--dataset DIR] [--steps N] [--image-size N]
#
# The images are CIFAR-10's binary files in DIR or $PENSTOCK_CIFAR10; without them a synthetic set is drawn.
set -eu
cd "$(dirname "$0")/.."

dataset=${PENSTOCK_CIFAR10:-}
steps=40
image_size=64
usage() {
	echo "usage: deploy/quickstart.sh [--dataset DIR] [--steps N] [--image-size N]" >&2
	exit 2
}
while [ $# -gt 0 ]; do
	case "$1" in
	--dataset | --steps | --image-size)
		[ $# -ge 2 ] || usage
		case "$1" in
		--dataset) dataset=$2 ;;
		--steps) steps=$2 ;;
		--image-size) image_size=$2 ;;
		esac
		shift 2
		;;
	*) usage ;;
	esac
done

sh deploy/install_dependencies.sh build
echo "== building"
cmake --preset release -DPENSTOCK_TESTS=OFF >/dev/null
cmake --build --preset release
build=$PWD/build/release
scratch=$(mktemp -d)

daemons=
clean_up() {
	for daemon in $daemons; do
		kill "$daemon" 2>/dev/null || true
		wait "$daemon" 2>/dev/null || true
	done
	rm -rf "$scratch"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

if [ -z "$dataset" ]; then
	dataset=$scratch/dataset
	echo "== no CIFAR-10 given (--dataset DIR or PENSTOCK_CIFAR10): drawing a synthetic set in its format"
	"$build/coordinator/penstock" dataset synthesize "$dataset"
fi

echo "== starting two stage daemons on loopback"
for i in 1 2; do
	"$build/stage_server/penstockd" --listen 127.0.0.1:0 --ready-file "$scratch/ready$i" --device cpu --threads 1 \
		2>"$scratch/daemon$i.log" &
	daemons="$daemons $!"
done
for i in 1 2; do
	tries=0
	while [ ! -s "$scratch/ready$i" ]; do
		tries=$((tries + 1))
		if [ $tries -gt 100 ]; then
			echo "daemon $i did not start; its log:" >&2
			cat "$scratch/daemon$i.log" >&2
			exit 1
		fi
		sleep 0.1
	done
	echo "$(cat "$scratch/ready$i") slots=1" >>"$scratch/hostfile"
done
cat "$scratch/hostfile"

echo "== training AlexNet on two stages, $steps steps"
"$build/coordinator/penstock" train --model alexnet --dataset "$dataset" --image-size "$image_size" \
	-H "$scratch/hostfile" -p 2 --micro-batch-size 16 --gradient-accumulation-steps 4 --optimizer Adam --lr 0.0003 \
	--steps "$steps" --json "$scratch/steps.json"
sed -n 's/.*"type":"step".*"loss":\([0-9.]*\).*/\1/p' "$scratch/steps.json" | awk '
	NR == 1 { first = $1 }
	{ last[NR % 5] = $1 }
	END {
		n = NR < 5 ? NR : 5
		for (i in last)
			sum += last[i] / n
		printf "== what this shows: two daemons, each with a part of the network, train it together.\n"
		printf "   The loss is 2.30 for a network that guesses among 10 classes. It began at %.2f;\n", first
		printf "   the mean of the last %d steps is %.2f, so the network %s.\n", n, sum, \
			sum < first - 0.1 ? "learns" : "has not learnt in so few steps"
	}'
echo "== done; stopping the daemons"
