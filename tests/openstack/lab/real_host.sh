# shellcheck shell=bash
# The parts that boot a real guest and reach it: libvirtd, the linuxbridge and the L3 agent, and the bridge that is the extranet.
# Called by: up (and down, for what is left). Needs root.

start_libvirtd() {
    local pair
    mkdir -p /etc/libvirt /run/libvirt /var/lib/libvirt /var/cache/libvirt /var/log/libvirt "$RUN"/libvirt/{etc,run,lib,cache,log}
    cp "$RUN/etc/qemu.conf" "$RUN/libvirt/etc/qemu.conf"
    # A mount namespace of its own: the machine's libvirt, if it has one, keeps its folders and its configuration.
    local binds=""
    for pair in etc:/etc/libvirt run:/run/libvirt lib:/var/lib/libvirt cache:/var/cache/libvirt log:/var/log/libvirt; do
        binds="$binds mount --bind '$RUN/libvirt/${pair%%:*}' '${pair#*:}' &&"
    done
    start libvirtd unshare --mount --propagation private bash -c "$binds exec libvirtd --config '$RUN/etc/libvirtd.conf'"
    await 30 libvirt libvirtd virsh -c "$LIBVIRT_URI" version
}

make_extranet() {
    ip link show "$BRIDGE" >/dev/null 2>&1 || {
        ip link add "$BRIDGE" type bridge
        echo "$BRIDGE" >"$RUN/bridge"
    }
    ip link set "$BRIDGE" up
    ip -6 addr replace "$EXTRANET::1/64" dev "$BRIDGE" nodad
    local prefix
    for prefix in $POOL 2001:db8::/32; do
        ip -6 route replace "$prefix" via "$EXTRANET::2" dev "$BRIDGE"
    done
}

start_agents() {
    alive guiyun-linuxbridge || bridges >"$RUN/bridges-before"
    # neutron names its firewall's chains after the program; with a name of ours they are found again
    PRELUDE="import guiyun_lab.quiet_bridges" start_python guiyun-linuxbridge neutron.cmd.eventlet.plugins.linuxbridge_neutron_agent \
        --config-file "$RUN/etc/neutron.conf" --config-file "$RUN/etc/linuxbridge.ini"
    start_python neutron-l3 neutron.cmd.eventlet.agents.l3 --config-file "$RUN/etc/neutron.conf" --config-file "$RUN/etc/l3.ini"
}

bridges() { ip -br link show type bridge 2>/dev/null | grep -oE '^brq[0-9a-f-]+' || true; }

# What the agents left behind, told apart by our own records: routers name their namespaces, and bridges that were there
# before are not ours. (The agent itself forgets the bridges of some deleted networks.)
remove_leftovers() {
    local name pid
    [ -d "$RUN/neutron" ] || return 0
    while read -r name; do
        ip netns list 2>/dev/null | grep -q "^qrouter-$name" || continue
        for pid in $(ip netns pids "qrouter-$name"); do kill "$pid" 2>/dev/null; done
        ip netns del "qrouter-$name"
    done < <(cat "$RUN/routers" 2>/dev/null)
    [ ! -e "$RUN/bridges-before" ] || for name in $(bridges); do
        grep -qx "$name" "$RUN/bridges-before" || ip link del "$name"
    done
    for name in iptables ip6tables; do
        "$name-save" 2>/dev/null | grep -q guiyun-linuxbri || continue
        "$name-save" | grep -vE 'guiyun-linuxbri|neutron-filter-top' | "$name-restore"
    done
    if [ -s "$RUN/bridge" ]; then
        ip link del "$(cat "$RUN/bridge")" 2>/dev/null
        rm -f "$RUN/bridge"
    fi
    losetup -l -n -O NAME,BACK-FILE 2>/dev/null | awk -v dir="$RUN/cinder/" 'index($2, dir) == 1 { print $1 }' |
        while read -r name; do losetup -d "$name"; done
}
