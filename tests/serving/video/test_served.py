"""Videos as clients send them to a service: its answers, other requests meanwhile, and 500 broken files."""

import json
import random
import re
import threading
from collections.abc import Iterator
from functools import cache

import psutil
import pytest

from serving.base.errors import BadInput, TooLarge
from serving.telemetry.metrics import Metrics
from serving.testing import make_request
from serving.video.frames import Decoders
from serving.video.sampling import Sampling
from tests import films
from tests.running import DIGITS, ROOT, Running, get, make_service, post_form, running
from tests.waiting import until

COFFEE, ASTRONAUT = films.picture("coffee.jpg"), films.picture("astronaut.jpg")
TWO = films.film([COFFEE, COFFEE, ASTRONAUT, ASTRONAUT], [0, 0.5, 1, 1.5])
PAGE = (ROOT / "docs/video.md").read_text()
ROWS = """
import numpy as np
from serving.api import Service

class Rows(Service):
    pictures = videos = True

    def preprocess(self, request):
        if request.video_bytes is None:
            return {"images": np.zeros((1, 1, 8, 8), np.float32)}
        return self.groups(request)

    def groups(self, request):
        for frame in request.frames(every=request.value("every", float, 1.0)):
            yield {"images": np.full((1, 1, 8, 8), frame.seconds, np.float32)}

    def postprocess(self, outputs, request):
        return len(next(iter(outputs.values())))
"""


@pytest.fixture(scope="module")
def brightness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The service of the page."""
    code = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[0]
    with running(make_service(tmp_path_factory.mktemp("brightness") / "small", "cpu = 1", code)) as service:
        yield service


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    limits = "decode_workers = 1\nmax_image_pixels = 2_100_000\nqueue_limit = 8\ntimeout_second = 300\n"
    settings = f"cpu = 1\n{limits}model_path = 'model/digits.onnx'"
    with running(make_service(tmp_path_factory.mktemp("rows") / "small", settings, ROWS, (str(DIGITS),))) as service:
        yield service


def sent(service: Running, video: bytes, kind: str = "video/mp4", **headers: str) -> tuple[int, dict[str, object]]:
    status, body = get(service.url + "/api/small", video, {"Content-Type": kind, **headers})
    return status, json.loads(body)


def supervisor(service: Running) -> psutil.Process:
    (found,) = psutil.Process(service.process.pid).children()
    return found


def test_the_service_of_the_page_answers_with_the_frames_of_a_video(brightness: Running) -> None:
    status, answer = sent(brightness, TWO)
    assert status == 200
    assert [round(each["seconds"]) for each in answer["results"]] == [0, 1]  # type: ignore[attr-defined]
    assert post_form(brightness.url + "/api/small", ("video", TWO))[1]["results"] == answer["results"]
    assert brightness.metric('monopod_video_frames_total{use="given"}') == 4


def test_a_broken_video_is_the_clients_400_and_one_without_time_its_413(brightness: Running) -> None:
    assert sent(brightness, TWO[:1000])[0] == 400
    assert sent(brightness, b"no video")[0] == 400
    status, answer = sent(brightness, films.heavy(), **{"X-Request-Timeout-Ms": "2000"})
    assert (status, "would fit: send a part of it" in str(answer["error"])) == (413, True)


def test_frames_are_rows_of_a_model_as_preprocess_yields_them(rows: Running) -> None:
    assert sent(rows, TWO)[1]["results"] == 2
    long = films.film([COFFEE] * 100, [at / 25 for at in range(100)])
    status, body = get(rows.url + "/api/small?every=0", long, {"Content-Type": "video/mp4"})
    assert (status, json.loads(body)["results"]) == (200, 100), "more rows than queue_limit has room for"


def test_an_error_in_the_middle_of_a_video_is_the_requests_answer(rows: Running) -> None:
    status, answer = sent(rows, films.growing((320, 240), (3840, 2160)), "video/webm")
    assert (status, answer["reason"]) == (413, "too_large")
    assert sent(rows, TWO)[1]["results"] == 2


def test_pictures_are_answered_while_videos_are_decoded_and_wait(rows: Running) -> None:
    answers: list[int] = []
    one = films.heavy(2000)
    threads = [threading.Thread(target=lambda: answers.append(sent(rows, one)[0])) for _ in range(3)]
    for thread in threads:
        thread.start()
    until(lambda: rows.metric("monopod_videos_waiting") == 2)
    assert len(supervisor(rows).children()) == 1
    assert sent(rows, (ROOT / "examples/images/coffee.jpg").read_bytes(), "image/jpeg")[0] == 200
    assert rows.metric("monopod_videos_waiting") > 0
    for thread in threads:
        thread.join()
    assert answers == [200] * 3


def test_a_video_whose_decoder_was_lost_gets_a_503_and_the_next_one_its_answer(rows: Running) -> None:
    answers: list[tuple[int, dict[str, object]]] = []
    thread = threading.Thread(target=lambda: answers.append(sent(rows, films.heavy())))
    thread.start()
    until(lambda: len(supervisor(rows).children()) == 1)
    supervisor(rows).kill()
    thread.join()
    assert (answers[0][0], answers[0][1]["reason"]) == (503, "decoder_lost")
    assert rows.metric('monopod_videos_refused_total{cause="lost"}') == 1
    assert sent(rows, TWO)[0] == 200


@cache
def small(container: str, codec: str) -> bytes:
    shown = [films.picture(name, (64, 48)) for name in ("coffee.jpg", "astronaut.jpg", "china.jpg")]
    return films.film([shown[at % 3] for at in range(12)], [at / 4 for at in range(12)], container, codec)


def broken(video: bytes, chance: random.Random) -> bytes:
    """Return a video with some bytes changed, cut out, doubled or cut off, but for the first ones, which tell the container."""
    data = bytearray(video)
    for _ in range(chance.choice((1, 4, 40))):
        at = chance.randrange(16, len(data))
        match chance.randrange(4):
            case 0:
                data[at] = chance.randrange(256)
            case 1:
                data[at : at + 4] = chance.choice((b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff"))
            case 2:
                del data[at : at + chance.randrange(1, 64)]
            case 3:
                data[at:at] = data[at : at + chance.randrange(1, 64)]
    return bytes(data[: chance.randrange(24, len(data))] if chance.random() < 0.3 else data)


@pytest.mark.parametrize(
    ("container", "codec"),
    [
        ("mp4", "libx264"), ("mp4", "libx265"), ("matroska", "libx264"), ("webm", "libvpx-vp9"), ("webm", "libsvtav1"),
        ("avi", "mpeg4"), ("mov", "mjpeg"), ("flv", "libx264"), ("mpegts", "mpeg2video"), ("mpegts", "libx264"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("count", [50, pytest.param(2000, marks=pytest.mark.soak)])
def test_of_a_broken_file_come_frames_or_a_sentence(container: str, codec: str, count: int) -> None:
    chance, decoders = random.Random(f"{container} {codec} {count}"), Decoders(2, 512 * 2**20, 1920 * 1088, Metrics())
    ended = dict.fromkeys(("read", "refused"), 0)
    for _ in range(count):
        wanted = Sampling(0.5, start=chance.choice((0, 0, 1)), mode=chance.choice(("exact", "fast", "keys")))
        video = broken(small(container, codec), chance)
        try:
            frames = decoders.open(video, wanted, make_request(seconds=100).life)
            ended["read"] += len(list(frames)) > 0
        except (BadInput, TooLarge):
            ended["refused"] += 1
    decoders.close()
    assert min(ended.values()) > 1
