#!/bin/sh
# Makes penstock-VERSION-linux-x86_64.tar.gz: both programs with every shared library they need that is not the system's C
# library or NVIDIA's, so that they run on any x86-64 Linux with glibc 2.36 or later, with nothing installed.
#
#   deploy/bundle.sh [--build DIR] [--output DIR] [--format gz|xz|zst] [--with-tests]
#
# It packs what --build holds (default build/release). --with-tests adds bin/tests and what tests/gpu/run.sh needs. gz is the
# default because every machine that has tar can unpack it; xz is a third smaller. Needs patchelf and binutils.
set -eu
called_from=$PWD
cd "$(dirname "$0")/.."

GLIBC=2.36 # Debian 12's; what is newer would not start on what docs/gpu.md promises
LIMIT_BYTES=40000000

build=build/release
output=.
format=gz
tests=no
usage() {
	echo "usage: deploy/bundle.sh [--build DIR] [--output DIR] [--format gz|xz|zst] [--with-tests]" >&2
	exit 2
}
while [ $# -gt 0 ]; do
	case "$1" in
	--build | --output | --format)
		[ $# -ge 2 ] || usage
		case "$1=$2" in
		--format=*) format=$2 ;;
		--build=/*) build=$2 ;;
		--build=*) build=$called_from/$2 ;;
		--output=/*) output=$2 ;;
		*) output=$called_from/$2 ;;
		esac
		shift 2
		;;
	--with-tests)
		tests=yes
		shift
		;;
	*) usage ;;
	esac
done
fail() {
	echo "deploy/bundle.sh: $*" >&2
	exit 1
}
case "$format" in
gz) compress="gzip -9n" ;;
xz) compress="xz -9e -T0" ;;
zst) compress="zstd -19 -T0 -q" ;;
*) usage ;;
esac
for tool in patchelf objdump strip tar "${compress%% *}"; do
	command -v "$tool" >/dev/null ||
		fail "$tool is missing; on Debian: apt-get install patchelf binutils tar gzip xz-utils zstd"
done
[ "$(uname -m)" = x86_64 ] || fail "this is $(uname -m); the bundle is for x86-64"
[ -x "$build/coordinator/penstock" ] && [ -x "$build/stage_server/penstockd" ] ||
	fail "$build has no programs; build first: cmake --preset release && cmake --build --preset release"

version=$("$build/coordinator/penstock" --version | sed -n '1s/^[^0-9]*\([0-9][0-9.]*\).*/\1/p')
[ -n "$version" ] || fail "$build/coordinator/penstock does not print its version"
name=penstock-$version-linux-x86_64
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
root=$scratch/$name
documents=$root/share/doc/penstock
mkdir -p "$root/bin" "$root/lib" "$documents/licences"

# ---- programs
cp "$build/coordinator/penstock" "$build/stage_server/penstockd" "$root/bin/"
if [ "$tests" = yes ]; then
	mkdir -p "$root/bin/tests" "$root/tests/golden" "$root/tests/bench/single_stage" "$root/tests/gpu"
	found=no
	for program in "$build"/tests/unit/device/test.device.* "$build/tests/bench/bench_single_stage"; do
		if [ -f "$program" ] && [ -x "$program" ]; then
			cp "$program" "$root/bin/tests/"
			found=yes
		fi
	done
	[ $found = yes ] || fail "--with-tests: $build has no tests; configure with -DPENSTOCK_TESTS=ON"
	mkdir -p "$root/tests/integration"
	cp tests/gpu/*.py tests/gpu/run.sh "$root/tests/gpu/"
	cp tests/integration/harness.py "$root/tests/integration/"
	cp tests/golden/networks.py tests/golden/*.safetensors "$root/tests/golden/"
	cp tests/bench/single_stage/*.py "$root/tests/bench/single_stage/"
fi

# ---- the libraries they need, and those that these need
# The C library's own family must be the system's: its parts only work with each other, and with the system's loader.
is_system() {
	case "$1" in
	linux-vdso.so.* | ld-linux*.so.* | libc.so.* | libm.so.* | libmvec.so.* | libpthread.so.* | libdl.so.* | librt.so.* | \
		libresolv.so.* | libutil.so.* | libanl.so.* | libnsl.so.* | libnss_*.so.* | libthread_db.so.* | libBrokenLocale.so.*)
		return 0
		;;
	esac
	return 1
}
is_nvidia() {
	case "$1" in
	libcuda.so* | libcudart.so* | libcudnn*.so* | libcublas*.so* | libnccl.so* | libnvidia-*.so* | libnvrtc*.so* | \
		libnvJitLink.so* | libcupti.so* | libcuf*.so* | libcurand.so* | libcusolver*.so* | libcusparse*.so*)
		return 0
		;;
	esac
	return 1
}
# NAME FILE of every shared library that the loader would take, here.
libraries() {
	ldd "$@" | sed -n 's/^[[:space:]]*\([^ /]*\) => \(.*\)$/\1 \2/p' | sed 's/ (0x[0-9a-f]*)$//' | sort -u
}
find "$root/bin" -type f >"$scratch/programs"
# shellcheck disable=SC2046 # file names of our own, without spaces
libraries $(cat "$scratch/programs") >"$scratch/libraries"
: >"$scratch/packages"
while read -r library file; do
	if is_system "$library"; then
		continue
	fi
	if is_nvidia "$library"; then
		fail "a program is linked to $library; NVIDIA's libraries must be loaded at run time, or the program does not start without them"
	fi
	[ -f "$file" ] || fail "$library is not found here ($file)"
	cp -L "$file" "$root/lib/$library"
	# A library from a package is in it under one of two names where /lib is a link to /usr/lib.
	real=$(readlink -f "$file")
	package=$(dpkg-query -S "$real" "${real#/usr}" 2>/dev/null | sed -n '1s/:.*//p')
	[ -n "$package" ] || fail "$file does not belong to a Debian package, so its licence is not known: build against Debian's"
	echo "$package" >>"$scratch/packages"
done <"$scratch/libraries"
[ -n "$(ls "$root/lib")" ] || fail "no library was found; is ldd there?"
echo libarchive-dev >>"$scratch/packages" # linked into the programs

# ---- make them find each other, and nothing else
# DT_RPATH, not DT_RUNPATH: an LD_LIBRARY_PATH that somebody set for another program must not put its libraries in the
# place of these.
chmod -R u+w "$root"
for library in "$root"/lib/*; do
	strip --strip-unneeded "$library"
	# shellcheck disable=SC2016 # the loader expands it
	patchelf --force-rpath --set-rpath '$ORIGIN' "$library"
	chmod 644 "$library"
done
while read -r program; do
	strip "$program"
	case "$program" in
	*/bin/tests/*) up=../../lib ;;
	*) up=../lib ;;
	esac
	patchelf --force-rpath --set-rpath "\$ORIGIN/$up" "$program"
	chmod 755 "$program"
done <"$scratch/programs"

# ---- what it asks of the system
# NEEDED of every file is in lib/ or the C library's.
for file in "$root"/lib/* $(cat "$scratch/programs"); do
	for needed in $(objdump -p "$file" | awk '$1 == "NEEDED" { print $2 }'); do
		is_system "$needed" || [ -f "$root/lib/$needed" ] || fail "$(basename "$file") needs $needed, which is not in the bundle"
	done
	newest=$(objdump -p "$file" | sed -n 's/.* GLIBC_\([0-9][0-9.]*\)$/\1/p' | sort -V | tail -n 1)
	[ "$(printf '%s\n' "${newest:-0}" "$GLIBC" | sort -V | tail -n 1)" = "$GLIBC" ] ||
		fail "$(basename "$file") needs glibc $newest; the bundle is for $GLIBC and later: build it on Debian 12"
done

# ---- licences
cp LICENSE CHANGELOG.md "$documents/"
sort -u "$scratch/packages" >"$scratch/unique"
: >"$documents/libraries"
while read -r package; do
	copyright=/usr/share/doc/$package/copyright
	[ -f "$copyright" ] || fail "$package has no $copyright; make the bundle on a system that installs documentation"
	cp -L "$copyright" "$documents/licences/$package"
	# shellcheck disable=SC2016 # dpkg's own words
	dpkg-query -W -f '${Package} ${Version} (source ${source:Package} ${source:Version})\n' "$package" |
		head -n 1 >>"$documents/libraries"
done <"$scratch/unique"
# The texts that Debian's copyright files refer to.
for text in $(cat "$documents"/licences/* | grep -o '/usr/share/common-licenses/[A-Za-z0-9.-]*[A-Za-z0-9]' | sort -u); do
	if [ -f "$text" ]; then
		mkdir -p "$documents/common-licenses"
		cp -L "$text" "$documents/common-licenses/"
	fi
done
cat >"$root/README" <<END
Penstock $version for x86-64 Linux with glibc $GLIBC or later.

  bin/penstock dataset synthesize /tmp/dataset
  bin/penstock train --dataset /tmp/dataset --local 2 --steps 20

Nothing needs to be installed. The folder may lie anywhere; keep bin and lib side by side. For NVIDIA GPUs the machine must have
the driver, cuBLAS of CUDA 13 and cuDNN 9: in the loader's path, in /usr/local/cuda, in the folders of NVIDIA's Python
wheels, or in a folder that PENSTOCK_CUDA_LIBRARY_PATH names.

share/doc/penstock: licences of this program and of the libraries in lib, which are Debian's, unchanged but for stripped symbols and
where they look for each other (libraries lists packages, versions and sources).
END
if [ "$tests" = yes ]; then
	cat >>"$root/README" <<END

tests/gpu/run.sh checks and measures all of it on this machine's GPU.
END
fi

# ---- one file, the same bytes for the same input
mkdir -p "$output"
archive=$(cd "$output" && pwd)/$name.tar.$format
unpacked=$(du -sb "$root" | cut -f 1)
tar -C "$scratch" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@${SOURCE_DATE_EPOCH:-0}" -cf - "$name" |
	$compress >"$archive.part"
size=$(stat -c %s "$archive.part")
if [ "$size" -ge $LIMIT_BYTES ]; then
	rm -f "$archive.part"
	fail "$name.tar.$format would be $size bytes; the limit is $LIMIT_BYTES"
fi
mv "$archive.part" "$archive"
awk -v size="$size" -v unpacked="$unpacked" -v file="$archive" -v libraries="$(find "$root/lib" -type f | wc -l)" 'BEGIN {
	printf "%s: %.1f MB, unpacked %.1f MB, %d libraries\n", file, size / 1e6, unpacked / 1e6, libraries }'
echo "largest:"
find "$root/bin" "$root/lib" -type f -printf '%s %P\n' | sort -rn | head -n 4 |
	awk '{ printf "  %6.1f MB  %s\n", $1 / 1e6, $2 }'
