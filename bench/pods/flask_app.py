"""The same card behind a plain Flask service, one request after another, without batches. Gunicorn runs it."""

from typing import Any

import numpy as np
from flask import Flask, request

from bench.pods.card import NAME, OUTPUT, Card

app = Flask(__name__)
card = Card()


@app.get("/")
def ready() -> str:
    return "ready"


@app.post(f"/api/{NAME}/v2/models/{NAME}/infer")
def infer() -> dict[str, Any]:
    tensor = request.get_json()["inputs"][0]
    sums, _ = card.run(np.asarray(tensor["data"], np.float32).reshape(tensor["shape"]))
    output = {"name": OUTPUT, "datatype": "FP32", "shape": list(sums.shape), "data": sums.ravel().tolist()}
    return {"model_name": NAME, "outputs": [output]}
