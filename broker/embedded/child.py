"""The last step before a child program: tie its life to ours, give up root, then become it (same process id).

Called by: ``broker.embedded.spawn`` as a script of its own (standard library only), because doing this in a
forked copy of a process with threads is not safe. Must not: import anything of the project.

Usage: child.py PARENT_PID DEATH_SIGNAL UID PROGRAM [ARGUMENT ...]; a UID of -1 keeps the present one.
"""

from __future__ import annotations

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1
PR_SET_NO_NEW_PRIVS = 38


def die_with_parent(parent: int, signal_number: int) -> None:
    """Ask the kernel for a signal when the parent ends; leave at once if it already has."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if libc.prctl(PR_SET_PDEATHSIG, signal_number, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:
        sys.exit("the parent process has ended")


def main(arguments: list[str]) -> None:
    parent, signal_number, uid = (int(argument) for argument in arguments[:3])
    command = arguments[3:]
    os.umask(0o077)
    if uid >= 0:
        os.setgroups([])
        os.setgid(uid)
        os.setuid(uid)
    # After the change of user: the kernel forgets the death signal when credentials change.
    die_with_parent(parent, signal_number)
    os.execv(command[0], command)  # noqa: S606 - becoming another program is this script's only purpose


if __name__ == "__main__":
    main(sys.argv[1:])
