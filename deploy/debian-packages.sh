#!/bin/sh
# Installs the Debian packages named as arguments that are missing, and nothing else.
#
#   deploy/debian-packages.sh rabbitmq-server python3-venv
#
# Says what it installs before it does. Where it may not install (no root, no sudo without a password) it says
# what to do for each package and ends with 1. Where there is no apt it only looks for each package's command. It
# never starts a service: our RabbitMQ is a private node, as are Graphite and Prometheus; Debian's own are not needed.
set -eu

choices() {
    case $1 in
    rabbitmq-server)
        cat <<'END'
RabbitMQ is not installed. Choose one:
  - install it: sudo apt-get install rabbitmq-server
  - use one you have: set CONSUMER_AMQP_URL=amqp://user:password@host:5672
  - start one in Docker: docker compose -f deploy/compose.yaml up rabbitmq
END
        ;;
    *) echo "$1 is not installed. Install it: sudo apt-get install $1" ;;
    esac >&2
}

give_up() {
    for package in "$@"; do
        choices "$package"
    done
    exit 1
}

# rabbitmq-server is also there when it was installed without a package; Debian keeps it outside a user's PATH.
present() {
    if command -v dpkg-query >/dev/null &&
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; then
        return 0
    fi
    case $1 in
    rabbitmq-server) [ -x "${RABBITMQ_HOME:-/nonexistent}/sbin/rabbitmq-server" ] || on_path "$1" ;;
    graphite-carbon) ! command -v apt-get >/dev/null && on_path carbon-cache ;;
    graphite-web) ! command -v apt-get >/dev/null && on_path graphite-manage ;;
    *) ! command -v apt-get >/dev/null && on_path "$1" ;;
    esac
}

on_path() {
    PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin command -v "$1" >/dev/null
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    else
        sudo -n "$@"
    fi
}

# Debian starts a service when its package is installed, unless this file says no. Ours says no only while this
# process lives, so that even one that is left behind by a kill changes nothing.
policy=/usr/sbin/policy-rc.d
forbid_service_starts() {
    [ ! -e $policy ] || return 0
    trap 'as_root rm -f $policy' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    # shellcheck disable=SC2016 # expanded by the other shell
    as_root sh -c 'printf "#!/bin/sh\n[ ! -e /proc/%s ] || exit 101\n" "$1" >"$2" && chmod 755 "$2"' sh $$ $policy
}

if [ $# -eq 0 ]; then
    echo "usage: $0 PACKAGE..." >&2
    exit 2
fi

missing=
for package in "$@"; do
    present "$package" || missing="$missing $package"
done
# Names of packages have no spaces: from here the list is split on purpose.
# shellcheck disable=SC2086
set -- $missing
[ $# -gt 0 ] || exit 0

if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
    give_up "$@"
fi
if [ "$(id -u)" != 0 ] && ! sudo -n true 2>/dev/null; then
    give_up "$@"
fi

echo "Missing Debian packages, installed now with apt-get: $*"
forbid_service_starts
# A hundred lines of unpacking say nothing to anybody, unless it fails.
log=$(mktemp)
install() {
    # Through env: sudo drops the variable. Without a terminal on stdin nothing can wait for an answer.
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@" </dev/null >"$log" 2>&1
}
refresh_and_install() {
    as_root apt-get update -qq
    install "$@" || {
        cat "$log" >&2
        rm -f "$log"
        exit 1
    }
}
# The package lists of a bare machine are missing or old; of any other they need not be fetched.
if ! as_root apt-get install -s -q --no-install-recommends "$@" >/dev/null 2>&1; then
    refresh_and_install "$@"
elif ! install "$@"; then
    refresh_and_install "$@"
fi
rm -f "$log"
for package in "$@"; do
    case $package in
    rabbitmq-server | prometheus) service=$package ;;
    graphite-carbon) service=carbon-cache ;;
    *) continue ;;
    esac
    echo "Debian's own service $service was not started; it may start at the next boot."
    echo "It is not needed here: sudo systemctl disable $service"
done
