"""Which threads may have the cores first.

Knows the system's scheduler. Does not know what a thread does.
"""

import os
import threading

STEPS = 10  # of niceness: about a tenth of a plain thread's share, and only while others want the cores


def yield_to_others() -> None:
    """Have this thread, and those that it starts, yield the cores to the process's other threads.

    What computes on cores does so: else the I/O thread, which needs little, would wait its turn behind them, and under
    overload a refusal would take a second. Needs no right: it never becomes less nice, and past 19 the kernel stays at 19. A
    container's threads compete among themselves alone.
    """
    niceness = os.getpriority(os.PRIO_PROCESS, os.getpid()) + STEPS  # of the first thread, whoever started this one
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), max(niceness, os.getpriority(os.PRIO_PROCESS, 0)))
