"""Flask, to be run by gunicorn: each worker process opens a session of its own and answers one request after the other."""

import numpy as np
import peer_parts
from flask import Flask, request

app = Flask(__name__)
session = peer_parts.session()


@app.get("/ready")
def ready():
    return "ready"


@app.post("/predict")
def predict():
    return {"outputs": peer_parts.run(session, np.array(request.get_json()["inputs"], np.float32)).tolist()}


@app.post("/jpeg")
def jpeg():
    return {"outputs": peer_parts.run(session, peer_parts.pixels(request.get_data())).tolist()}
