"""A program for gunicorn's sync workers. A share of its requests fails, which tests replace, and some routes do harm."""

import os
import random
import threading
import time

from flask import Flask, Response, jsonify, request

FAILING = 0.0  # the share of the requests that fail

app = Flask(__name__)


@app.post("/api/<service>")
def answer(service: str) -> Response:
    if random.random() < FAILING:
        raise RuntimeError("a request that was to fail")
    return jsonify(bytes=len(request.get_data()))


@app.route("/exit")
def leave() -> str:
    os._exit(7)


@app.route("/fork")
def fork() -> str:
    return "child" if os.fork() == 0 else "parent"


@app.route("/threads")
def threads() -> str:
    for _ in range(10):
        threading.Thread(target=time.sleep, args=(1000,)).start()
    return "started"


@app.route("/hang")
def hang() -> str:
    threading.Event().wait()
    return "never"
