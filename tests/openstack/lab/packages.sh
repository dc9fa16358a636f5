# shellcheck shell=bash
# Installs the Debian packages of the lab that are missing, without letting any of them start a daemon.
# Called by: up and build-guest. Needs root.

CONTROL_PACKAGES="python3-keystone glance-common placement-common nova-common neutron-common cinder-common
 python3-openstacksdk python3-pymysql python3-sqlalchemy-ext rabbitmq-server mariadb-server memcached
 uwsgi-core uwsgi-plugin-python3 curl iproute2 iptables qemu-utils"
REAL_PACKAGES="neutron-linuxbridge-agent radvd conntrack kmod libvirt-daemon libvirt-daemon-system libvirt-clients python3-libvirt
 qemu-system-x86 genisoimage util-linux"
GUEST_PACKAGES="mmdebstrap busybox-static cpio e2fsprogs qemu-utils"

install_packages() {
    local package missing="" policy=/usr/sbin/policy-rc.d
    for package in $1; do
        dpkg-query -W -f='${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || missing="$missing $package"
    done
    [ -n "$missing" ] || return 0
    [ "$(id -u)" = 0 ] || die "root is needed once, to install:$missing"
    say "installing$(echo "$missing" | wc -w | sed 's/^/ /') packages and what they need"
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod +x "$policy"
        trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    fi
    export DEBIAN_FRONTEND=noninteractive
    # Another installation may be running: wait for its locks rather than fail.
    local patient="-o DPkg::Lock::Timeout=900 -o Acquire::Retries=3"
    # shellcheck disable=SC2086  # words
    apt-get $patient update -qq >>"$LAB_HOME/install.log" 2>&1 || say "apt-get update failed; going on with the lists there are"
    command -v debconf-set-selections >/dev/null && for package in keystone nova-common neutron-common cinder-common glance-common placement-common; do
        echo "$package ${package%-common}/configure_db boolean false"
    done | debconf-set-selections
    # shellcheck disable=SC2086  # a list of words
    apt-get $patient install -y -qq --no-install-recommends -o Dpkg::Options::=--force-unsafe-io \
        -o Dpkg::Options::=--force-confold $missing >>"$LAB_HOME/install.log" 2>&1 || {
        tail -n 15 "$LAB_HOME/install.log" >&2
        die "apt-get install failed; see $LAB_HOME/install.log"
    }
    if [ "$(trap -p EXIT)" != "" ]; then
        rm -f "$policy"
        trap - EXIT
    fi
    say "packages installed"
}
