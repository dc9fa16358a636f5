#!/usr/bin/python3
"""Ansible module: who answers in which zone, seen from a router (or any machine) with a namespace for each VRF.

Called by: ``verify-segment.yml``. Runs on the probe with its own Python; only the standard library. Changes nothing.

Sends ICMPv6 echoes from each VRF's own address. First every target must answer in its own VRF, again and again until it
does or patience ends; then, while it does, it must be silent in every other VRF and on the management network, there
to a TCP connection too: a refusal is an answer, and echoes may be filtered where the rest gets through.
A gateway answers also when its router forwards nothing, and its hosts are reached by nobody. So the segment's
subnet-router anycast address (RFC 4291, 2.6.1) is asked as well: a router leaves it when it no longer forwards there.
A probe on that very router sends what is for that address out over the segment, so it looks at what its kernel says
instead. Hosts are not asked: nobody knows whether there are any.
An answer always counts; silence counts only where the probe can see: at home the target's own router (``control``) has
to answer, in every other VRF one of the controls (other routers' own addresses there). What is not seen is said to be
so; whether somebody else has seen it, the caller knows.
"""

from __future__ import annotations

import ctypes
import errno
import ipaddress
import os
import select
import socket
import struct
import time
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: zone_probe
short_description: Who answers in which zone
options:
  targets: {type: list, elements: dict, required: true, description: What has to answer in its VRF and nowhere else}
  vantages: {type: list, elements: dict, required: true, description: The VRFs to look from; empty name for management}
  answering: {type: bool, default: true, description: Whether targets are to answer at all}
  patience_s: {type: float, default: 8, description: How long a target may take to answer}
  quiet_s: {type: float, default: 1, description: How long silence has to last}
"""

ECHO_REQUEST, ECHO_REPLY = 128, 129
KNOCKED_AT = 22
NEWNET = 0x40000000
AGAIN_S = 0.1
ASKED = b"guiyun"
"""What an echo carries, before the address that it is for: an anycast address answers by another."""


class Vantage:
    """A raw socket in one VRF's namespace."""

    def __init__(self, given, number):
        self.vrf, self.controls = given["vrf"], given.get("controls", [])
        self.ident = (os.getpid() + number) & 0xFFFF
        self.missing = ""
        self.socket, self.source = None, given.get("source", "")
        try:
            self.enter()
        except OSError as error:
            self.missing = os.strerror(error.errno)
            return
        self.socket = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
        if self.source:
            self.socket.bind((self.source, 0))
        self.socket.setblocking(False)

    def enter(self):
        """Sockets that are made from now on are in its namespace."""
        _into(f"/run/netns/{self.vrf}" if self.vrf else f"/proc/{os.getpid()}/ns/net.own")

    def forwards(self):
        """Whether its namespace forwards at all. It has to be entered."""
        return Path("/proc/sys/net/ipv6/conf/all/forwarding").read_text().strip() != "0"

    def knock(self, address):
        """A TCP connection on its way; None: there is no way there. Its namespace has to be entered."""
        one = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
        one.setblocking(False)
        if self.source:
            one.bind((self.source, 0))
        if one.connect_ex((address, KNOCKED_AT)) in (0, errno.EINPROGRESS):
            return one
        one.close()
        return None

    def send(self, address):
        """False: there is no way there, which is as good as silence."""
        header = struct.pack("!BBHHH", ECHO_REQUEST, 0, 0, self.ident, 1)
        packet = header + ASKED + ipaddress.IPv6Address(address).packed
        try:
            self.socket.sendto(packet, (address, 0))
        except OSError as error:
            if error.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EACCES):
                return False
            raise
        return True

    def read(self):
        """Addresses that have been answered for since, by whomever: each answer says again what was asked."""
        found = set()
        while True:
            try:
                packet = self.socket.recv(2048)
            except BlockingIOError:
                return found
            if packet[0] == ECHO_REPLY and (packet[4:6], packet[8:-16]) == (struct.pack("!H", self.ident), ASKED):
                found.add(str(ipaddress.IPv6Address(packet[-16:])))


_OWN = os.open("/proc/self/ns/net", os.O_RDONLY)
_LIBC = ctypes.CDLL(None, use_errno=True)


def _into(path):
    """Enter a network namespace; a socket made there stays there."""
    handle = os.dup(_OWN) if path.endswith(".own") else os.open(path, os.O_RDONLY)
    try:
        if _LIBC.setns(handle, NEWNET):
            raise OSError(ctypes.get_errno(), path)
    finally:
        os.close(handle)


def ask(pairs, seconds, *, all_of_them):
    """Which of ``pairs`` (vantage, address) answer within so many seconds; ends early once all have, if asked to."""
    answered, until = set(), time.monotonic() + seconds
    sockets = {v.socket: v for v, _ in pairs}
    while pairs:
        silent = [p for p in pairs if p not in answered]
        sent = [vantage.send(address) for vantage, address in silent]
        if not all_of_them and not any(sent):
            return answered
        again = min(time.monotonic() + AGAIN_S, until) if all_of_them else until
        while time.monotonic() < again:
            ready, _, _ = select.select(list(sockets), [], [], max(0.0, again - time.monotonic()))
            for one in ready:
                answered |= {(sockets[one], address) for address in sockets[one].read()}
            if all(p in answered for p in pairs):
                return answered & set(pairs)
        if time.monotonic() >= until:
            return answered & set(pairs)
    return answered


def knocking(pairs):
    """Connections of all pairs (vantage, address), on their way at once: by pair."""
    found = {}
    for vantage in {v for v, _ in pairs}:
        vantage.enter()
        found.update({(v, a): one for v, a in pairs if v is vantage and (one := v.knock(a)) is not None})
    _into("own.own")
    return found


def opened(knocks):
    """Which pairs have had an answer by now, yes or no; the connections are ended."""
    poll = select.poll()
    by_handle = {one.fileno(): (pair, one) for pair, one in knocks.items()}
    for handle in by_handle:
        poll.register(handle, select.POLLOUT)
    found = set()
    for handle, _ in poll.poll(0):
        pair, one = by_handle[handle]
        if one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) in (0, errno.ECONNREFUSED):
            found.add(pair)
    for one in knocks.values():
        one.close()
    return found


def look(module):
    """The verdict on each target, and the whole matrix."""
    given = module.params
    vantages = [Vantage(v, n) for n, v in enumerate(given["vantages"])]
    _into("own.own")
    by_vrf = {v.vrf: v for v in vantages}
    targets = given["targets"]
    seeing = _seeing([v for v in vantages if v.controls and v.socket], given["patience_s"])
    own_routers = _own_routers(by_vrf, targets, given["patience_s"])
    in_sight = [t for t in targets if t["vrf"] in by_vrf and by_vrf[t["vrf"]].socket]
    home = [(by_vrf[t["vrf"]], t["address"]) for t in in_sight]
    routed = {t["id"]: (by_vrf[t["vrf"]], t) for t in in_sight if t.get("forwarder") and given["answering"]}
    asked = {i: (v, t["forwarder"]) for i, (v, t) in routed.items() if v.source != t["control"]}
    patience = given["patience_s"] if given["answering"] else given["quiet_s"]
    at_home = ask([*home, *asked.values()], patience, all_of_them=given["answering"])
    forwards = {i: asked[i] in at_home if i in asked else _looked_at(v) for i, (v, _) in routed.items()}
    away = [
        (v, t["address"])
        for t in targets
        for v in vantages
        if v.socket and v.vrf != t["vrf"] and v.vrf not in t.get("elsewhere", ())
    ]
    knocks = knocking(away)
    strayed = ask(away, given["quiet_s"], all_of_them=False) | opened(knocks)
    rows = []
    for target in targets:
        for v in vantages:
            if v.vrf in target.get("elsewhere", ()) and v.vrf != target["vrf"]:
                continue
            pair = (v, target["address"])
            sees = target["id"] in own_routers if v.vrf == target["vrf"] else v.vrf in seeing or not v.vrf
            rows.append({
                "id": target["id"], "of": target["vrf"], "seen_from": v.vrf, "answered": pair in at_home | strayed,
                "seeing": sees and not v.missing,
            })  # fmt: skip
            if v.vrf == target["vrf"] and target["id"] in forwards:
                rows[-1]["forwards"] = forwards[target["id"]]
    return rows


def _looked_at(vantage):
    """Whether the router that the probe is on forwards in a VRF."""
    vantage.enter()
    try:
        return vantage.forwards()
    finally:
        _into("own.own")


def _own_routers(by_vrf, targets, patience_s):
    """The targets whose router answers in their VRF: one that does not is not to be reached from here just now."""
    asked = {}
    for t in targets:
        vantage = by_vrf.get(t["vrf"])
        if vantage is not None and vantage.socket:
            asked.setdefault((vantage, t["control"]), []).append(t["id"])
    answered = ask(list(asked), min(patience_s, 2), all_of_them=True)
    return {i for pair in answered for i in asked[pair]}


def _seeing(vantages, patience_s):
    """The VRFs in which a control answers, one after the other: a router that is down is no reason to be blind."""
    seeing = set()
    for turn in range(max((len(v.controls) for v in vantages), default=0)):
        asked = [(v, v.controls[turn]) for v in vantages if v.vrf not in seeing and turn < len(v.controls)]
        seeing |= {v.vrf for v, _ in ask(asked, min(patience_s, 2), all_of_them=True)}
    return seeing


def verdict(rows, *, answering):
    """Why a target is not as it should be, of what is seen from here: a code and where, or nothing."""
    for row in rows:
        home = row["of"] == row["seen_from"]
        if row["answered"] and not (home and answering):
            return "extranet.leak" if not home else "extranet.still_there", row["seen_from"] or "management"
        if home and answering and row["seeing"] and not row["answered"]:
            return "extranet.unreachable", row["of"]
        if home and answering and row["answered"] and not row.get("forwards", True):
            return "extranet.not_forwarding", row["of"]
    return "", ""


def main():
    module = AnsibleModule(
        argument_spec={
            "targets": {"type": "list", "elements": "dict", "required": True},
            "vantages": {"type": "list", "elements": "dict", "required": True},
            "answering": {"type": "bool", "default": True},
            "patience_s": {"type": "float", "default": 8},
            "quiet_s": {"type": "float", "default": 1},
        },
        supports_check_mode=True,
    )
    rows = look(module)
    answers = {}
    for target in module.params["targets"]:
        mine = [row for row in rows if row["id"] == target["id"]]
        code, detail = verdict(mine, answering=module.params["answering"])
        answers[target["id"]] = {"changed": False, "code": code, "detail": detail}
    module.exit_json(changed=False, guiyun={"verdicts": answers, "matrix": rows})


if __name__ == "__main__":
    main()
