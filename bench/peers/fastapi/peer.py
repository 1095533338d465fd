"""FastAPI on uvicorn: one worker with threads, two workers with threads, and one worker that runs the net on its loop."""

from dataclasses import replace

from bench.peers.forms import jpeg_bytes, json_rows
from bench.peers.peer import Peer

UVICORN = ("{python}", "-m", "uvicorn", "serve:app", "--app-dir", "{folder}", "--port", "{port}", "--no-access-log")
THREADS = (
    "with uvloop and httptools. Path operations are plain functions, which run on FastAPI's 40 threads. There is no access log."
)

ONE = Peer(
    name="fastapi",
    title="FastAPI, one worker",
    folder="fastapi",
    package="fastapi",
    command=(*UVICORN, "--loop", "uvloop", "--http", "httptools"),
    exchanges={"small-json": json_rows("/predict"), "jpeg": jpeg_bytes("/jpeg")},
    settings=f"One uvicorn worker, {THREADS}",
    documentation=("https://fastapi.tiangolo.com/async/", "https://www.uvicorn.org/settings/"),
    ready="/ready",
    lacks="FastAPI has no binary tensors of its own.",
)
TWO = replace(
    ONE,
    name="fastapi-two",
    title="FastAPI, two workers",
    command=(*ONE.command, "--workers", "2"),
    settings=f"Two uvicorn workers, one a core, {THREADS}",
    documentation=("https://fastapi.tiangolo.com/deployment/server-workers/", *ONE.documentation),
)
LOOP = replace(
    ONE,
    name="fastapi-loop",
    title="FastAPI, one worker, the net on its loop",
    exchanges={"small-json": json_rows("/predict-on-the-loop")},
    settings="One uvicorn worker, with uvloop and httptools. The path operation is a coroutine, so no thread is used.",
    lacks="FastAPI has no binary tensors of its own. A picture would stop the loop, so it is not measured.",
)
PEERS = (ONE, TWO, LOOP)
