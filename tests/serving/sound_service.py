"""A service of a file that is no picture: the loudness of a WAV, by a small ONNX model; and a PDF's text, without a model."""

import io
import wave
from pathlib import Path

import numpy as np
from onnx import helper

from tests import small_models
from tests.running import make_service

SOUND = """
import io
import wave

import numpy as np

from serving.api import Arrays, BadInput, Request, Service, route


class Loudness(Service):
    files = {"audio": "audio/*"}

    def preprocess(self, request: Request) -> Arrays:
        try:
            with wave.open(io.BytesIO(request.file("audio").bytes)) as sound:
                samples = np.frombuffer(sound.readframes(800), np.int16) / np.float32(32768)
        except (wave.Error, EOFError) as error:
            raise BadInput(f"audio is no WAV: {error}") from error
        return {"samples": np.resize(samples, (1, 800)).astype(np.float32)}

    def postprocess(self, outputs: Arrays, request: Request) -> object:
        sent = request.file("audio")
        return {"loudness": round(float(outputs["loudness"][0]), 4), "name": sent.name, "type": sent.type}

    @route("/both", files={"voice": "audio/wav", "pages": ("image/*, application/pdf", 3)})
    def both(self, request: Request) -> object:
        return [request.file("voice").name, [page.name for page in request.files("pages")]]
"""
DOCUMENT = r"""
import re

from serving.api import Request, Service


class Text(Service):
    files = {"document": "application/pdf"}

    def handle(self, request: Request) -> object:
        return b" ".join(re.findall(rb"\((.*?)\) Tj", request.file("document").bytes)).decode("latin-1")
"""
PDF = b"%PDF-1.4\n1 0 obj <</Length 44>> stream\nBT /F1 12 Tf (Hello) Tj (world) Tj ET\nendstream endobj\n%%EOF\n"


def wav(loudness: float) -> bytes:
    """Return a tenth of a second of a square wave."""
    return recorded(np.where(np.arange(800) % 2, loudness, -loudness), 8000)


def recorded(samples: np.ndarray, rate: int = 16_000) -> bytes:
    """Return a WAV file. samples: from -1 to 1. rate: samples a second."""
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setparams((1, 2, rate, 0, "NONE", ""))
        sound.writeframes((samples * 32768).astype(np.int16).tobytes())
    return file.getvalue()


def write_sound_classifier(file: Path) -> None:
    """Write a model of a second of samples: scores of silence, tone and noise, by loudness and by how fast samples change."""
    nodes = [
        helper.make_node("Mul", ["samples", "samples"], ["squares"]),
        helper.make_node("ReduceMean", ["squares"], ["power"], axes=[1]),
        helper.make_node("Slice", ["samples", "one", "end", "last"], ["later"]),
        helper.make_node("Slice", ["samples", "zero", "minus", "last"], ["earlier"]),
        helper.make_node("Sub", ["later", "earlier"], ["steps"]),
        helper.make_node("Mul", ["steps", "steps"], ["jumps"]),
        helper.make_node("ReduceMean", ["jumps"], ["change"], axes=[1]),
        helper.make_node("Add", ["power", "tiny"], ["some"]),
        helper.make_node("Div", ["change", "some"], ["roughness"]),  # 2 of white noise, 0.03 of 440 Hz
        helper.make_node("Div", ["tiny", "some"], ["quiet"]),  # 1 of silence
        helper.make_node("Concat", ["quiet", "roughness"], ["heard"], axis=1),
        helper.make_node("Gemm", ["heard", "weights", "biases"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["scores"], axis=1),
    ]
    numbers = {"last": 1, "one": 1, "zero": 0, "end": 16_000, "minus": -1}
    constants = {name: np.array([number], np.int64) for name, number in numbers.items()}
    weights = np.array([[20, -10, -10], [0, -5, 5]], np.float32)
    inputs, outputs = [small_models.tensor("samples", ("n", 16_000))], [small_models.tensor("scores", ("n", 3))]
    arrays = {"tiny": np.array([1e-7], np.float32), "weights": weights, "biases": np.array([-10, 5, -5], np.float32)}
    small_models.write(file, nodes, inputs, outputs, **constants, **arrays)


def make_sound_service(folder: Path, settings: str = "") -> Path:
    """Write the service of sounds. Its model gives the mean of the absolute samples. settings: lines of value.py."""
    made = make_service(folder, f'model_path = "model/loudness.onnx"\n{settings}', SOUND)
    nodes = [
        helper.make_node("Abs", ["samples"], ["heights"]),
        helper.make_node("MatMul", ["heights", "share"], ["means"]),
        helper.make_node("Reshape", ["means", "flat"], ["loudness"]),
    ]
    share, flat = np.full((800, 1), 1 / 800, np.float32), np.array([-1], np.int64)
    inputs, outputs = [small_models.tensor("samples", ("n", 800))], [small_models.tensor("loudness", ("n",))]
    small_models.write(made / "model/loudness.onnx", nodes, inputs, outputs, share=share, flat=flat)
    return made
