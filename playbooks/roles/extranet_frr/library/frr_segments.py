#!/usr/bin/python3
"""Ansible module: IPv6 segments on an FRR router whose VRFs are network namespaces (``zebra -n``).

Called by: the role ``frr``. Runs on the router with its own Python; must not need anything but the standard library.

One connection, one run: it reads only what is about these segments (no configuration dump), refuses what overlaps with
something announced or connected that is not ours, writes all with one ``ip -batch`` a namespace and one ``vtysh``.
A segment carries our id in its interface's description, with a fingerprint of what it was made from. A thorough run (a
repair) goes further: lines, addresses and rules that nobody wants are taken away, a link that is another is made anew.
"""

from __future__ import annotations

import fcntl
import time
from functools import partial
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.frr_absent import absent
from ansible.module_utils.frr_present import present
from ansible.module_utils.frr_router import Router
from ansible.module_utils.frr_segment import Segment

LOCK = "/run/guiyun-segments.lock"
LOCK_S = 60


def main():
    module = AnsibleModule(
        argument_spec={
            "state": {"choices": ["present", "absent"], "default": "present"},
            "asn": {"type": "int", "required": True},
            "underlay": {"type": "dict", "required": True},
            "firewall": {"type": "str", "required": True},
            "thorough": {"type": "bool", "default": False},
            "segments": {"type": "list", "elements": "dict", "required": True},
        },
        supports_check_mode=True,
    )
    with Path(LOCK).open("w") as lock:
        until = time.monotonic() + LOCK_S
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() > until:
                    module.fail_json(msg="extranet.router_busy: another change has the lock")
                time.sleep(0.05)
        router = Router(module)
        segments = [Segment(s) for s in module.params["segments"]]
        seen = router.look(segments)
        act = present if module.params["state"] == "present" else absent
        answers, difference = act(router, segments, seen, module.check_mode)
    changed = any(a["changed"] for a in answers.values())
    text = "\n".join(difference) + "\n" if difference else ""
    refused = sorted({a["code"] for a in answers.values() if a["code"]})
    # A task of its own that looks whether anything was refused would cost every run as much as this one.
    end = partial(module.fail_json, msg=", ".join(refused)) if refused else module.exit_json
    end(changed=changed, guiyun={"segments": answers}, diff={"prepared": text})


if __name__ == "__main__":
    main()
