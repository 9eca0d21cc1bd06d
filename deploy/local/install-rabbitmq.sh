#!/bin/sh
# Install RabbitMQ from the system's package manager, without starting a system-wide broker.
#
# algasync and its tests start a private node from the installed programs; the package's own service is not needed.
# Exit codes: 0 installed (or was there already), 1 the package manager failed, 2 this machine needs another way.
set -eu

say() { printf '%s\n' "$*" >&2; }

other_ways() {
    say "Other ways: macOS: brew install rabbitmq; Fedora: dnf install rabbitmq-server; anything with Docker:"
    say "  docker run -d -p 127.0.0.1:5672:5672 rabbitmq:4   then set BROKER_URL=amqp://guest:guest@127.0.0.1:5672/"
}

# Exits when the package is there but too old (Ubuntu 22.04 has 3.9).
refuse_too_old() {
    version=$(dpkg-query -W -f '${Version}' rabbitmq-server 2>/dev/null || true)
    if [ -n "$version" ] && ! dpkg --compare-versions "$version" ge 3.10; then
        say "The system's package is RabbitMQ $version; algasync needs 3.10 or later."
        other_ways
        exit 2
    fi
}

if [ -e /usr/sbin/rabbitmq-server ] || command -v rabbitmq-server >/dev/null 2>&1; then
    refuse_too_old
    say "RabbitMQ is already installed."
    exit 0
fi

if ! command -v apt-get >/dev/null 2>&1; then
    say "RabbitMQ is not installed, and there is no apt-get here to install it with."
    other_ways
    exit 2
fi

if [ "$(id -u)" -ne 0 ]; then
    say "RabbitMQ is not installed, and installing packages needs root. Type: sudo sh $0"
    other_ways
    exit 2
fi

# Debian's maintainer scripts ask this program before they start a service: 101 means "do not".
policy=/usr/sbin/policy-rc.d
ours=
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
    ours=yes
fi
remove_policy() { if [ -n "$ours" ]; then rm -f "$policy"; fi; }
trap remove_policy EXIT
trap 'exit 1' HUP INT TERM

export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
install() { apt-get install -y --no-install-recommends rabbitmq-server >&2; }
if ! install; then
    say "Reading the package lists, then trying again."
    if ! apt-get update >&2 || ! install; then
        say "apt-get could not install rabbitmq-server (its messages are above)."
        other_ways
        exit 1
    fi
fi

# The package enables its service for the next boot; only a machine that runs systemd would act on that.
if [ -d /run/systemd/system ]; then
    systemctl disable --quiet rabbitmq-server.service || say "rabbitmq-server.service stays enabled for the next boot."
fi
refuse_too_old
say "RabbitMQ is installed. Its system-wide service was not started."
