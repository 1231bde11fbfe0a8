"""The kernel's part of the fence: it also holds the programs that a tracker starts, in whatever language they are written.

Landlock (Linux 6.7 and later) refuses TCP connections of a process and of all that it starts, to its end. It knows ports and no
hosts, and neither datagrams nor the names that are looked up with them. Source: docs.kernel.org/userspace-api/landlock.html
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Collection

__all__ = ["fence_programs"]

_CREATE, _ADD, _RESTRICT = 444, 445, 446  # the numbers of the calls, on every processor
_ASK_VERSION, _WITH_NETWORK = 1, 4
_CONNECT_TCP, _PORT_RULE = 2, 2
_NO_NEW_PRIVILEGES = 38


class _Ruleset(ctypes.Structure):
    _fields_ = [("files", ctypes.c_uint64), ("network", ctypes.c_uint64)]


class _Port(ctypes.Structure):
    _fields_ = [("allowed", ctypes.c_uint64), ("port", ctypes.c_uint64)]


def fence_programs(ports: Collection[int]) -> bool:
    """From now on this thread, and all threads and programs that it starts, connect by TCP to `ports` alone, of any host.

    False where the system cannot do it: another than Linux, an older one, or one without Landlock. Nothing is changed then.
    """
    if sys.platform != "linux":
        return False
    system = ctypes.CDLL(None, use_errno=True)
    if system.syscall(_CREATE, None, ctypes.c_size_t(0), _ASK_VERSION) < _WITH_NETWORK:
        return False
    wanted = _Ruleset(files=0, network=_CONNECT_TCP)
    rules = system.syscall(_CREATE, ctypes.byref(wanted), ctypes.c_size_t(ctypes.sizeof(wanted)), 0)
    if rules < 0:
        return False
    try:
        for port in ports:
            rule = _Port(allowed=_CONNECT_TCP, port=port)
            if system.syscall(_ADD, rules, _PORT_RULE, ctypes.byref(rule), 0):
                return False
        return not system.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) and not system.syscall(_RESTRICT, rules, 0)
    finally:
        os.close(rules)
