"""Triton, from the package nvidia-pytriton: its server in C++, the models in its Python backend."""

from bench.peers.forms import open_inference, open_inference_binary, open_inference_jpeg
from bench.peers.peer import Peer

PEERS = (
    Peer(
        name="triton",
        title="Triton, Python backend",
        folder="triton",
        package="nvidia-pytriton",
        command=("{python}", "{folder}/serve.py"),
        exchanges={
            "small-json": open_inference("/v2/models/small/infer"),
            "small-binary": open_inference_binary("/v2/models/small/infer"),
            "jpeg": open_inference_jpeg("/v2/models/jpeg/infer"),
        },
        settings=(
            "The server's own HTTP endpoint with its eight threads. The dynamic batcher without a delay. One instance of the "
            "small net takes up to 128 rows at once; two instances of the jpeg net, one a core, decode and run each picture."
        ),
        documentation=(
            "https://docs.nvidia.com/deeplearning/triton-inference-server/user-guide/docs/batcher.html",
            "https://github.com/triton-inference-server/python_backend#readme",
        ),
        ready="/v2/health/ready",
        lacks="The package index has no Triton with the ONNX backend, so onnxruntime runs in the Python backend.",
    ),
)
