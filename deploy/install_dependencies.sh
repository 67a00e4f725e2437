#!/bin/sh
# Installs what Penstock needs, from Debian's packages but for three Python modules of the tests: to build and run ("build"), and to test ("test").
# Does nothing, quickly, when all is there. Used by quickstart.sh and tests/run.sh.
set -eu

build="gcc libc6-dev cmake ninja-build pkg-config protobuf-c-compiler libprotobuf-c-dev libgrpc-dev
       libuv1-dev libdnnl-dev libjansson-dev libmicrohttpd-dev libinih-dev protobuf-compiler
       libprotobuf-dev libncurses-dev libsystemd-dev libssl-dev zlib1g-dev libarchive-dev libjpeg-dev
       libpng-dev"
test="clang-format clang-tidy libcmocka-dev python3 python3-grpcio python3-protobuf procps patchelf gnuplot-nox
      iproute2 munge slurmctld slurmd slurm-client debootstrap systemd systemd-container python3-pip
      prometheus python3-pyte mandoc man-db bash-completion dpkg-dev file lintian clang
      libclang-rt-dev libomp-dev openssl"

case "${1:-build}" in
build) wanted=$build ;;
test) wanted="$build $test" ;;
*)
	echo "usage: $0 [build|test]" >&2
	exit 2
	;;
esac

# Debian has gRPC for Python, but not its health and reflection clients; the tests look for them in build/python.
install_grpc_clients() {
	root=$(dirname "$0")/..
	version=$(/usr/bin/python3 -c 'import grpc; print(grpc.__version__)')
	[ ! -d "$root/build/python/grpc_reflection" ] || return 0
	/usr/bin/python3 -m pip install -q --root-user-action=ignore --no-deps --target "$root/build/python" "grpcio-health-checking==$version" \
		"grpcio-reflection==$version" || echo "integration.discovery will be skipped: gRPC's clients could not be installed" >&2
}

# The reader of Hjson that DeepSpeed has; ours is held against it.
install_hjson() {
	root=$(dirname "$0")/..
	[ ! -d "$root/build/python/hjson" ] || return 0
	/usr/bin/python3 -m pip install -q --root-user-action=ignore --no-deps --target "$root/build/python" hjson==3.1.0 ||
		echo "unit.config.hjson_against_python will be skipped: Python's hjson could not be installed" >&2
}

finish() {
	[ "${1:-build}" != test ] || {
		install_grpc_clients
		install_hjson
	}
	exit 0
}

missing=
for package in $wanted; do
	state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
	[ "$state" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || finish "$@"

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
finish "$@"
