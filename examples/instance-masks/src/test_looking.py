"""The net, run without a server, gives the same result for a picture in tiles as for the whole."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))

from looking import look
from materials import MATERIALS, Unet

from serving.api import Service
from serving.testing import make_request, open_service
from tests.running import ROOT


@pytest.fixture(scope="module")
def service() -> Service:
    service = open_service(ROOT / "examples/instance-masks")
    service.models.on_demand("unet", "model/unet.onnx")
    service.models.on_demand("u2netp-dyn", "model/u2netp-dyn.onnx")
    return service


def test_a_picture_in_tiles_is_seen_as_the_whole(service: Service) -> None:
    with Image.open(ROOT / "examples/images/nuclei.png") as opened:
        picture = np.asarray(opened.convert("RGB"))[:391, :450]
    labels, certainty = look(service.models["unet"], Unet(), picture, make_request())
    for side in (128, 256):
        again, certain = look(service.models["unet"], Unet(side=side), picture, make_request())
        assert np.abs(certainty - certain).max() < 1e-4
        assert (labels == again).all()
    assert labels.shape == certainty.shape == (391, 450)
    assert labels.max() > 70


def test_a_dim_flat_picture_is_empty_though_it_has_noise(service: Service) -> None:
    noise = np.random.default_rng(2).integers(20, 24, (128, 128, 1)).astype(np.uint8).repeat(3, axis=2)
    for material in ("nuclei", "objects"):
        model = service.models[MATERIALS[material].file.removesuffix(".onnx")]
        labels, _ = look(model, MATERIALS[material].sight, noise, make_request())
        assert labels.max() == 0


def test_what_a_model_does_not_take_is_no_bad_input(service: Service) -> None:
    with pytest.raises(RuntimeError, match="model u2netp-dyn does not take what it is shown: input 'input.1'"):
        look(service.models["u2netp-dyn"], Unet(), np.zeros((64, 64, 3), np.uint8), make_request())
