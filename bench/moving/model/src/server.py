"""The same program, whose model the platform runs."""

from typing import Any

import peer_parts
from flask import Flask, current_app, request

app = Flask(__name__)


@app.post("/jpeg")
def jpeg() -> dict[str, Any]:
    rows = {"inputs": peer_parts.pixels(request.get_data())}
    outputs = current_app.monopod.model(rows, request.environ["monopod.request"])
    return {"outputs": outputs["outputs"].tolist()}
