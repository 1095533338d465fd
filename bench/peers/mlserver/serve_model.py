"""MLServer: one model with its own codecs of the Open Inference Protocol. A picture comes as base64 in its JSON."""

import os

import numpy as np
import peer_parts
from mlserver import MLModel
from mlserver.codecs import Base64Codec, NumpyCodec
from mlserver.types import InferenceResponse

SMALL = os.environ["PEER_SERVICE"] == "small"


class Net(MLModel):
    async def load(self):
        self.session = peer_parts.session()
        return True

    async def predict(self, payload):
        rows = (NumpyCodec.decode_input if SMALL else pixels)(payload.inputs[0])
        outputs = NumpyCodec.encode_output("outputs", peer_parts.run(self.session, rows))
        return InferenceResponse(model_name=self.name, outputs=[outputs])


def pixels(given):
    return np.concatenate([peer_parts.pixels(picture) for picture in Base64Codec.decode_input(given)])
