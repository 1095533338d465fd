"""Every peer's server code uses this module, so that all do the same work: a picture to pixels, and a session of a model.

It is imported in each peer's own environment, by PYTHONPATH, so it uses numpy, Pillow and onnxruntime alone.
"""

import os
from io import BytesIO
from typing import Any

import numpy as np
import onnxruntime
from PIL import Image

SIDE = 112  # pixels of a side of the jpeg net's input


def pixels(jpeg: bytes) -> Any:
    """Return a picture as float32 of shape [1, 3, 112, 112], from 0 to 1."""
    picture = Image.open(BytesIO(jpeg)).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    return np.ascontiguousarray(np.asarray(picture, np.float32).transpose(2, 0, 1)[None] / 255)


def session(model: str = "", threads: int = 1) -> Any:
    """Return a session of a model on the CPU; without a name, of PEER_MODEL. Its run may be called from many threads."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # spinning takes the cores from the server
    return onnxruntime.InferenceSession(model or os.environ["PEER_MODEL"], options, providers=["CPUExecutionProvider"])


def run(opened: Any, rows: Any) -> Any:
    """Return the outputs of rows, float32 of shape [rows, 8]. rows: float32 of shape [rows, 32] or [rows, 3, 112, 112]."""
    return opened.run(["outputs"], {"inputs": rows})[0]
