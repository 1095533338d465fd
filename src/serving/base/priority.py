"""The priority of threads: those that compute yield the cores to those that answer.

Knows the system's scheduler. Does not know what a thread does.
"""

import os
import threading

STEPS = 10  # of niceness: about a tenth of a plain thread's share, while others want the cores


def yield_to_others() -> None:
    """Have this thread, and the threads that it starts, yield the cores to the process's other threads.

    Threads that compute call it. Otherwise the event loop, which needs little, would wait behind them, and a refusal under
    overload would take a second. It needs no privilege, since a thread never becomes less nice; above 19 the kernel uses 19.
    Other containers are not affected: a container's threads compete among themselves.
    """
    niceness = os.getpriority(os.PRIO_PROCESS, os.getpid()) + STEPS  # of the first thread, so that a second call adds nothing
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), max(niceness, os.getpriority(os.PRIO_PROCESS, 0)))
