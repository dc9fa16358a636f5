# shellcheck shell=bash disable=SC2034
# Names, paths and ports of the lab, and the small functions that every part needs.
# Sourced by up, down and build-guest. Must not: start, stop or write anything.

LAB=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)
CHECKOUT=$(cd "$LAB/../.." && pwd)
LAB_HOME=$(realpath -m "${GUIYUN_OPENSTACK_HOME:-$CHECKOUT/.openstack}")
RUN=$LAB_HOME/run        # what a lab that runs needs; `down --wipe` removes it
CACHE=$LAB_HOME/cache    # what only costs time to make again
VIRT=${GUIYUN_OPENSTACK_VIRT:-libvirt}   # fake: no guest boots | libvirt: a second compute host boots real ones

IP=127.0.0.1
MYSQL_PORT=13306 MEMCACHED_PORT=21211 RABBIT_PORT=25671 RABBIT_DIST_PORT=25673 EPMD_PORT=24369
# Two compute hosts in one cloud. An image decides which: see "trait" in lab/catalog.py.
FAKE_HOST=guiyun-fake REAL_HOST=guiyun-real
# The extranet side of the router; the host holds ::1 of it, the router ::2, and units' networks lie in POOL.
POOL=3fff::/20 EXTRANET=3fff:fff:ffff:ffff
BRIDGE=gy-extranet
PY=/usr/bin/python3      # Debian's, which has OpenStack; never one from PATH
LIBVIRT_URI="qemu+unix:///system?socket=$RUN/libvirt/run/libvirt-sock"

export LC_ALL=C.UTF-8
STARTED=${STARTED:-$(date +%s%3N)}

say() {
    local ms=$(($(date +%s%3N) - STARTED))
    printf '[%4d.%d s] %s\n' $((ms / 1000)) $((ms % 1000 / 100)) "$*" >&2
}

die() {
    say "$*"
    exit 1
}

# A zombie is not alive: pid 1 of a container may never reap, so `kill -0` would lie.
live() { [ -r "/proc/$1/stat" ] && ! grep -q ') Z ' "/proc/$1/stat"; }

# A recorded pid counts only while the process was started when we recorded it: after a reboot it is someone else's.
started_at() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }

alive() {
    local pid since
    [ -s "$RUN/pid/$1" ] && read -r pid since <"$RUN/pid/$1" && live "$pid" && [ "$(started_at "$pid")" = "$since" ]
}
