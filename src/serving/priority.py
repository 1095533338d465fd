"""Which threads may have the cores first.

Knows the system's scheduler. Does not know what a thread does.
"""

import os
import threading

STEPS = 10  # of niceness: about a tenth of a plain thread's share, and only while others want the cores


def yield_to_others() -> None:
    """Have this thread, and those that it starts, yield the cores to the process's other threads.

    What computes on cores does so: else the I/O thread, which needs little, would wait its turn behind them, and under
    overload a refusal would take a second. Needs no right. A container's threads compete among themselves alone.
    """
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), STEPS)
