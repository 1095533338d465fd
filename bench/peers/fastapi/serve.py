"""FastAPI: plain functions, which it runs on its threads, and one coroutine for a row that is too quick for a thread."""

from typing import Annotated

import numpy as np
import peer_parts
from fastapi import Depends, FastAPI, Request
from pydantic import BaseModel

app = FastAPI()
session = peer_parts.session()


class Rows(BaseModel):
    inputs: list[list[float]]


class Values(BaseModel):
    outputs: list[list[float]]


@app.get("/ready")
def ready() -> str:
    return "ready"


@app.post("/predict")
def predict(rows: Rows) -> Values:
    return answer(np.array(rows.inputs, np.float32))


@app.post("/predict-on-the-loop")
async def predict_on_the_loop(rows: Rows) -> Values:
    return answer(np.array(rows.inputs, np.float32))


async def body_of(request: Request) -> bytes:
    return await request.body()


@app.post("/jpeg")
def jpeg(body: Annotated[bytes, Depends(body_of)]) -> Values:
    return answer(peer_parts.pixels(body))


def answer(rows: np.ndarray) -> Values:
    return Values(outputs=peer_parts.run(session, rows).tolist())
