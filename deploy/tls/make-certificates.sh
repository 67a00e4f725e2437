#!/bin/sh
# Makes an authority of your own and certificates signed by it, for penstockd and penstock: enough for a cluster of one's own and
# for tests. Where there is an authority already (a company's, step-ca, cert-manager), use that.
#
#   make-certificates.sh ca FOLDER              FOLDER/ca.pem and FOLDER/ca.key
#   make-certificates.sh issue FOLDER NAME SAN...
#                                               FOLDER/NAME.pem and FOLDER/NAME.key, for DNS names and IP addresses
#
# The same certificate serves a daemon as server and as its neighbours' client, and NAME is its common name. Keys are of P-256,
# readable by their owner alone. Files that are there are never overwritten. DAYS says how long a certificate is valid (default:
# 3650 for an authority, 365 for others).
set -eu

fail() {
	echo "make-certificates.sh: $1" >&2
	exit "${2:-1}"
}

usage() {
	sed -n '2,/^set -eu/s/^# \{0,1\}//p' "$0" >&2
	exit 2
}

command -v openssl >/dev/null || fail "openssl is missing: install the package openssl"
case ${DAYS:-1} in
*[!0-9]*) fail "DAYS is \"$DAYS\", which is no number of days" 2 ;;
esac
umask 077
work=
trap '[ -z "$work" ] || rm -rf "$work"' EXIT

refuse_existing() {
	for file in "$@"; do
		[ ! -e "$file" ] || fail "$file exists already, and is not overwritten"
	done
}

# make_key FILE
make_key() {
	openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" 2>/dev/null
}

make_authority() {
	folder=$1
	mkdir -p "$folder"
	refuse_existing "$folder/ca.pem" "$folder/ca.key"
	work=$(mktemp -d "$folder/.new-XXXXXX")
	make_key "$work/ca.key"
	openssl req -x509 -new -sha256 -key "$work/ca.key" -days "${DAYS:-3650}" -subj "/CN=Penstock authority" \
		-addext "basicConstraints=critical,CA:TRUE,pathlen:0" -addext "keyUsage=critical,keyCertSign,cRLSign" \
		-out "$work/ca.pem"
	chmod 644 "$work/ca.pem"
	mv "$work/ca.key" "$work/ca.pem" "$folder/"
}

# Prints DNS:name or IP:address.
alternative_name() {
	case $1 in
	'' | *[!A-Za-z0-9.:*_-]*) fail "\"$1\" is neither a DNS name nor an IP address" 2 ;;
	*:*) printf 'IP:%s' "$1" ;;
	*[!0-9.]*) printf 'DNS:%s' "$1" ;;
	*) printf 'IP:%s' "$1" ;;
	esac
}

issue() {
	folder=$1
	name=$2
	shift 2
	case $name in
	ca | *[!A-Za-z0-9._-]* | .* | '') fail "\"$name\" cannot be a certificate's name" 2 ;;
	esac
	[ -r "$folder/ca.key" ] || fail "$folder/ca.key cannot be read: make the authority first (make-certificates.sh ca $folder)"
	refuse_existing "$folder/$name.pem" "$folder/$name.key"
	names=
	for one in "$@"; do
		names="$names${names:+,}$(alternative_name "$one")"
	done
	work=$(mktemp -d "$folder/.new-XXXXXX")
	make_key "$work/$name.key"
	openssl req -new -sha256 -key "$work/$name.key" -subj "/CN=$name" -out "$work/request"
	cat >"$work/extensions" <<-END
		basicConstraints = critical,CA:FALSE
		keyUsage = critical,digitalSignature
		extendedKeyUsage = serverAuth,clientAuth
		subjectKeyIdentifier = hash
		authorityKeyIdentifier = keyid
		subjectAltName = $names
	END
	openssl x509 -req -sha256 -in "$work/request" -CA "$folder/ca.pem" -CAkey "$folder/ca.key" -days "${DAYS:-365}" \
		-set_serial "0x$(openssl rand -hex 16)" -extfile "$work/extensions" -out "$work/$name.pem" 2>/dev/null ||
		fail "openssl could not sign the certificate of $name for: $names"
	chmod 644 "$work/$name.pem"
	mv "$work/$name.key" "$work/$name.pem" "$folder/"
}

case ${1:-} in
ca)
	[ $# = 2 ] || usage
	make_authority "$2"
	;;
issue)
	[ $# -ge 4 ] || usage
	shift
	issue "$@"
	;;
*) usage ;;
esac
