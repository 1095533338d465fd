"""The requests of the benchmark: 1 to 4 rows as JSON, by the Open Inference Protocol, and the check of an answer."""

import json
import urllib.request
from collections.abc import Sequence

from bench.pods.card import INPUT, NAME, OUTPUT, WIDTH
from bench.served import BenchError
from bench.work import ROOT, Work

ROWS = (1, 2, 3, 4)  # of the bodies, which are sent in turns
FOLDER = ROOT / "bench" / "pods" / "service"
POD_PATH = f"/api/{NAME}/v2/models/{NAME}/infer"
ANSWER_SECONDS = 10
TOLERANCE = 1e-4  # of the sums: both sides compute in float32


def values(rows: int) -> list[list[float]]:
    """Return the numbers of a request. Each has few decimals, as clients send them."""
    return [[round((row * 5 + place * 7) % 17 / 16, 4) for place in range(WIDTH)] for row in range(rows)]


def body(rows: int) -> bytes:
    """Return the request of some rows."""
    data = [value for row in values(rows) for value in row]
    return json.dumps({"inputs": [{"name": INPUT, "datatype": "FP32", "shape": [rows, WIDTH], "data": data}]}).encode()


def bodies() -> list[bytes]:
    """Return one request for each number of rows."""
    return [body(rows) for rows in ROWS]


def work(path: str) -> Work:
    """Return the kind of request, at a path."""
    return Work("card", f"{ROWS[0]} to {ROWS[-1]} rows of {WIDTH} numbers as JSON", FOLDER, path, body(1), "application/json")


def mistake(answer: bytes, rows: int) -> str:
    """Return what is wrong with the values of an answer, "" where nothing is."""
    outputs = {output["name"]: output for output in json.loads(answer)["outputs"]}
    found: Sequence[float] = outputs[OUTPUT]["data"] if OUTPUT in outputs else ()
    wanted = [sum(row) for row in values(rows)]
    right = len(found) == rows and all(abs(a - b) <= TOLERANCE for a, b in zip(found, wanted, strict=True))
    return "" if right else f"{rows} rows are answered with {list(found)}, and their sums are {wanted}"


def compare(url: str) -> None:
    """Send one request of each size to a URL, and compare the answers in value. Raises BenchError."""
    for rows in ROWS:
        request = urllib.request.Request(url, body(rows), {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as answer:
                wrong = mistake(answer.read(), rows)
        except OSError as error:
            wrong = str(error)
        if wrong:
            raise BenchError(f"{url}: {wrong}")
