"""The model.py of the jpeg net: each picture is decoded and run by itself, on the instance that got it."""

import peer_parts
import triton_python_backend_utils as backend


class TritonPythonModel:
    def initialize(self, args):
        self.session = peer_parts.session()

    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        (picture,) = backend.get_input_tensor_by_name(request, "inputs").as_numpy().ravel()
        outputs = peer_parts.run(self.session, peer_parts.pixels(picture))
        return backend.InferenceResponse([backend.Tensor("outputs", outputs)])
