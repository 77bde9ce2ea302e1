#!/bin/sh
# A small private certificate authority for one programme's brokers, sites, dispatch desks and observers.
#
#   make-certificates.sh DIR authority [NAME]           once, on a machine that is not the broker
#   make-certificates.sh DIR broker NAME ADDRESS...     every host name and IP address clients will write
#   make-certificates.sh DIR site ID...                 ID is site.id of the site file
#   make-certificates.sh DIR desk NAME...
#   make-certificates.sh DIR observer NAME...
#   make-certificates.sh DIR list [DAYS]                what ends when; exit 1 if anything ends within DAYS (30)
#
# Writes DIR/<identity>.pem and DIR/<identity>.key and never overwrites a file. The identity is the certificate's common
# name and the name brokers know: a site's is its id; the others carry their role in front (desk.npcc), and since no
# site id holds a dot, none of them can ever pass for a site. DAYS=90 in the environment sets another lifetime.
set -eu
umask 077

AUTHORITY_DAYS=3650
DAYS=${DAYS:-397}

die() { echo "make-certificates: $*" >&2; exit 2; }
usage() { sed -n '4,9s/^#   //p' "$0" >&2; exit 2; }

[ $# -ge 2 ] || usage
dir=$1 command=$2
shift 2
command -v openssl >/dev/null || die "openssl is missing: apt-get install openssl"
case $DAYS in ''|*[!0-9]*|0*) die "DAYS=$DAYS is no whole number of days above 0" ;; esac

# One path level and one topic level everywhere; brokers give + # / and spaces a meaning of their own.
check_name() {
    case $1 in ''|*[!A-Za-z0-9_-]*) die "'$1' is no name: use A-Z a-z 0-9 _ - only" ;; esac
}

# publish IDENTITY: moves key and certificate out of $work, the certificate last. ln refuses what is there already.
publish() {
    for kind in key pem; do
        ln "$work/new.$kind" "$dir/$1.$kind" 2>/dev/null ||
            die "$dir/$1.$kind is there already; move it away to make a new one"
    done
    echo "$dir/$1.pem  ends $(openssl x509 -in "$dir/$1.pem" -noout -enddate | cut -d= -f2)"
}

must_be_new() {
    [ ${#1} -le 64 ] || die "$1: a certificate's name has at most 64 characters"
    for kind in key pem; do
        [ ! -e "$dir/$1.$kind" ] || die "$dir/$1.$kind is there already; move it away to make a new one"
    done
}

# sign IDENTITY USAGE [ALTERNATIVE-NAMES]
sign() {
    must_be_new "$1"
    [ -r "$dir/ca.key" ] || die "no authority in $dir: make-certificates.sh $dir authority"
    {
        echo "basicConstraints = critical, CA:FALSE"
        echo "keyUsage = critical, digitalSignature"
        echo "extendedKeyUsage = $2"
        echo "subjectKeyIdentifier = hash"
        echo "authorityKeyIdentifier = keyid"
        [ -z "${3:-}" ] || echo "subjectAltName = $3"
    } > "$work/extensions"
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -subj "/CN=$1" \
        -keyout "$work/new.key" -out "$work/new.csr" 2>"$work/said" || die "$1: $(cat "$work/said")"
    openssl x509 -req -in "$work/new.csr" -CA "$dir/ca.pem" -CAkey "$dir/ca.key" -days "$DAYS" -sha256 \
        -set_serial "0x$(openssl rand -hex 16)" -extfile "$work/extensions" -out "$work/new.pem" \
        2>"$work/said" || die "$1: $(cat "$work/said")"
    publish "$1"
    rm "$work/new.key" "$work/new.pem"
}

# A broker vouches for itself only at the addresses named here.
alternative_names() {
    names=
    for address in "$@"; do
        case $address in
            ''|*[!A-Za-z0-9.:-]*) die "'$address' is neither a host name nor an IP address" ;;
            *:*) kind=IP ;;
            *[!0-9.]*) kind=DNS ;;
            *) kind=IP ;;
        esac
        names=${names:+$names, }$kind:$address
    done
    echo "$names"
}

if [ "$command" != authority ] && [ ! -d "$dir" ]; then die "there is no directory $dir"; fi
mkdir -p "$dir"
work=$(mktemp -d "$dir/.new.XXXXXX")
trap 'rm -rf "$work"' EXIT

case $command in
authority)
    must_be_new ca
    name=${1:-curtaild programme}
    case $name in *[!A-Za-z0-9\ _.-]*) die "'$name' is no name of an authority" ;; esac
    openssl req -x509 -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -sha256 -days "$AUTHORITY_DAYS" \
        -subj "/CN=$name" -addext "basicConstraints = critical, CA:TRUE, pathlen:0" \
        -addext "keyUsage = critical, keyCertSign, cRLSign" -keyout "$work/new.key" -out "$work/new.pem" \
        2>"$work/said" || die "$(cat "$work/said")"
    publish ca
    ;;
broker)
    [ $# -ge 2 ] || usage
    check_name "$1"
    broker=$1
    shift
    names=$(alternative_names "$@")
    # clientAuth too: the nodes of a NATS cluster are each other's clients.
    sign "broker.$broker" "serverAuth, clientAuth" "$names"
    ;;
site|desk|observer)
    [ $# -ge 1 ] || usage
    for name in "$@"; do check_name "$name"; done
    for name in "$@"; do
        # clientAuth alone: whoever takes such a key cannot put up a broker with it.
        if [ "$command" = site ]; then sign "$name" clientAuth; else sign "$command.$name" clientAuth; fi
    done
    ;;
list)
    days=${1:-30}
    case $days in ''|*[!0-9]*) die "$days is no number of days" ;; esac
    soon=0
    for certificate in "$dir"/*.pem; do
        [ -e "$certificate" ] || die "no certificate in $dir"
        mark=
        if ! openssl x509 -in "$certificate" -noout -checkend $((days * 86400)) >/dev/null; then
            soon=1 mark="  <- within $days days"
        fi
        echo "$(openssl x509 -in "$certificate" -noout -enddate | cut -d= -f2)  ${certificate##*/}$mark"
    done
    exit $soon
    ;;
*) usage ;;
esac
