#!/bin/sh
# Installs from Debian's packages what Penstock needs: to build and run ("build"), and to test ("test").
# Does nothing, quickly, when all is there. Used by quickstart.sh and tests/run.sh.
set -eu

build="gcc libc6-dev cmake ninja-build pkg-config protobuf-c-compiler libprotobuf-c-dev libgrpc-dev
       libuv1-dev libdnnl-dev libjansson-dev libmicrohttpd-dev libinih-dev protobuf-compiler
       libprotobuf-dev libncurses-dev libsystemd-dev libssl-dev"
test="clang-format libcmocka-dev python3 python3-grpcio python3-protobuf procps patchelf gnuplot-nox
      iproute2 munge slurmctld slurmd slurm-client debootstrap systemd systemd-container python3-pip
      prometheus python3-pyte mandoc man-db bash-completion dpkg-dev file lintian clang-14
      libclang-rt-14-dev libomp-14-dev openssl"

case "${1:-build}" in
build) wanted=$build ;;
test) wanted="$build $test" ;;
*)
	echo "usage: $0 [build|test]" >&2
	exit 2
	;;
esac

missing=
for package in $wanted; do
	state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
	[ "$state" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ]; then
	as_root=
elif command -v sudo >/dev/null; then
	as_root=sudo
else
	echo "These packages are missing:$missing" >&2
	echo "Install them as root (apt-get install$missing), or run this as root or with sudo." >&2
	exit 1
fi
echo "Installing:$missing"
$as_root env DEBIAN_FRONTEND=noninteractive apt-get update -q
# shellcheck disable=SC2086 # a list of words on purpose
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing
