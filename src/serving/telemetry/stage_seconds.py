"""The seconds that requests spent in each stage, from the times at which their stages began.

Knows the stages' numbers, and that the stages of a request follow each other without a gap. Does not know what a stage is for.

A request's begins are numbers in pairs: a stage's number and when it began, and at last END and when the request ended. To note
them takes a request less time than to add them up. That is done here, for many requests at once.
"""

import numpy as np
from numpy.typing import NDArray

from serving.settings.exported_metrics import STAGES

NUMBERS = {stage: number for number, stage in enumerate(STAGES)}
END = len(STAGES)


def stage_seconds(begins: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the seconds of each stage, of shape (requests, len(STAGES)); NaN where a request had no such stage.

    begins: of whole requests one after the other, of shape (pairs, 2).
    """
    stages = begins[:, 0].astype(np.int64)
    ends = stages == END
    requests = np.cumsum(ends)  # before each pair, and with it where the pair is an end
    places = (requests * len(STAGES) + stages)[~ends]
    seconds = np.diff(begins[:, 1], append=0.0)[~ends]
    shape = int(requests[-1]), len(STAGES)
    found = np.asarray(np.bincount(places, seconds, shape[0] * shape[1]), np.float64)
    found[np.bincount(places, minlength=len(found)) == 0] = np.nan
    return found.reshape(shape)
