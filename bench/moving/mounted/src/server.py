"""Flask, as it runs under gunicorn: it opens a session of its own."""

from typing import Any

import peer_parts
from flask import Flask, request

app = Flask(__name__)
session = peer_parts.session()


@app.post("/jpeg")
def jpeg() -> dict[str, Any]:
    return {"outputs": peer_parts.run(session, peer_parts.pixels(request.get_data())).tolist()}
