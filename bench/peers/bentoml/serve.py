"""BentoML: two processes with a net each. Rows are batched by its adaptive batching; a picture's bytes come as a file.

A process serves either the small net or that of pictures, so one of its two routes is not used.
"""

from pathlib import Path
from typing import Annotated

import bentoml
import numpy as np
import peer_parts
from bentoml.validators import ContentType

ROWS = 32
LATENCY = 60_000  # milliseconds; with less, BentoML refuses requests while it learns how long a batch takes


@bentoml.service(workers=2, metrics={"enabled": False}, logging={"access": {"enabled": False}})
class Net:
    def __init__(self) -> None:
        self.session = peer_parts.session()

    @bentoml.api(route="/json", batchable=True, max_batch_size=ROWS, max_latency_ms=LATENCY)
    def json(self, inputs: np.ndarray) -> np.ndarray:
        return peer_parts.run(self.session, np.asarray(inputs, np.float32))

    @bentoml.api(route="/jpeg")
    def jpeg(self, picture: Annotated[Path, ContentType("image/jpeg")], /) -> np.ndarray:
        return peer_parts.run(self.session, peer_parts.pixels(picture.read_bytes()))
