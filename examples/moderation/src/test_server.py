"""The service as its clients see it, through sockets with real pictures and videos, and its start and end."""

import base64
import io
import shutil
import signal
import threading
from pathlib import Path
from typing import Any

import nsfw
import numpy as np
import onnxruntime
import pytest
from PIL import Image
from sending import ASTRONAUT, COFFEE, FOLDER, ROUTE, Answered, children, file, send, send_form, send_video

from serving.testing import make_request
from tests import films
from tests.running import ROOT, Running, launch, post_json, running
from tests.waiting import until

PICTURES = sorted(path.name for path in (ROOT / "examples/images").glob("*.[jp][pn]g"))
# The scores after Yahoo's own preprocessing: the whole picture is shrunk, saved as a JPEG, read again and cut.
REFERENCE = {"astronaut.jpg": 0.0318, "coffee.jpg": 0.0168, "coins.png": 0.0012, "faces.png": 0.0359, "nuclei-mask.png": 0.0043}
REFERENCE |= {"flower.jpg": 0.0020, "rocket.jpg": 0.0005}


def model(rows: Any) -> list[float]:
    """Return the scores of some rows by the model run by hand."""
    session = onnxruntime.InferenceSession(FOLDER / "model/open-nsfw.onnx")
    return [float(score) for score in np.asarray(session.run(["outputs"], {"input:0": rows})[0])[:, 1]]


def scored(picture: Image.Image) -> float:
    """Return a picture's score by the model run by hand, on rows that were not made by the service's code."""
    saved = io.BytesIO()
    picture.resize((256, 256), Image.Resampling.BILINEAR).save(saved, "JPEG")
    middle = Image.open(saved).crop((16, 16, 240, 240))
    red, green, blue = (np.asarray(band, np.float32) for band in middle.split())
    return model(np.stack([blue - 104, green - 117, red - 123], axis=-1)[None])[0]


@pytest.mark.parametrize("name", PICTURES)
def test_the_examples_pictures_are_safe(service: Running, name: str) -> None:
    status, answer = send(service, file(name), "image/jpeg")
    results = answer["results"]
    assert (status, results["label"]) == (200, "safe")
    assert results["nsfw"] == pytest.approx(REFERENCE.get(name, 0.0), abs=0.001)
    assert results["score"] == pytest.approx(1 - results["nsfw"], abs=1e-4)


def test_a_pictures_score_is_that_of_the_model_run_by_hand(service: Running) -> None:
    sent = io.BytesIO()
    ASTRONAUT.save(sent, "PNG")
    answer = send(service, sent.getvalue(), "image/png")[1]
    assert answer["results"]["nsfw"] == pytest.approx(scored(ASTRONAUT), abs=1e-4)


def test_each_second_of_a_video_is_judged_as_a_picture_is(service: Running) -> None:
    before = service.metric("moderation_frames_total")
    fine = {"preset": "ultrafast", "qp": "1"}
    video = films.film([COFFEE, COFFEE, ASTRONAUT, ASTRONAUT], [0, 0.5, 1, 1.5], encoder=fine)
    status, answer = send_form(service, ("video", video, "clip.mp4"), ("postid", b"p1", ""), ("uid", b"u1", ""))
    assert (status, answer["postid"], answer["uid"], answer["msg"]) == (200, "p1", "u1", "")
    results = answer["results"]
    assert [(frame["label"], frame["seconds"]) for frame in results["frames"]] == [("nsfw at 0:00", 0), ("nsfw at 0:01", 1)]
    scores = [frame["score"] for frame in results["frames"]]
    assert scores == pytest.approx([scored(COFFEE), scored(ASTRONAUT)], abs=0.005)
    assert (results["label"], results["nsfw"], results["share"], results["damaged"]) == ("safe", max(scores), 0, False)
    assert results["seconds"] == pytest.approx(2, abs=0.3)
    assert service.metric("moderation_frames_total") == before + 2
    assert service.metric('moderation_verdicts_total{label="safe",of="video"}') >= 1


def test_a_video_comes_raw_or_in_a_form_or_in_json(service: Running) -> None:
    video = films.film([COFFEE], [0], "webm", "libvpx")
    raw = send(service, video, "video/webm")
    form = send_form(service, ("video", video, "clip.webm"))
    url = service.url + ROUTE
    as_json = post_json(url, {"video": base64.b64encode(video).decode(), "seqid": 7})
    assert raw[0] == form[0] == as_json[0] == 200
    assert raw[1]["results"] == form[1]["results"] == as_json[1]["results"]
    assert as_json[1]["seqid"] == 7


def test_more_frames_than_the_model_takes_at_once_are_asked_about_in_parts(service: Running) -> None:
    video = films.film([Image.blend(COFFEE, ASTRONAUT, at / 30) for at in range(31)], range(31))
    frames = make_request(video=video).frames(every=1, at_least=(nsfw.SIDE, nsfw.SIDE))
    rows = nsfw.rows([nsfw.of_frame(frame.pixels) for frame in frames])
    before = service.metric('monopod_batch_rows_count{model="moderation"}')
    status, answer = send_video(service, video)
    assert status == 200
    assert [frame["score"] for frame in answer["results"]["frames"]] == pytest.approx(model(rows), abs=2e-4)
    assert service.metric('monopod_batch_rows_count{model="moderation"}') == before + 8, "four rows a batch, the last has three"
    assert service.metric('monopod_batch_rows_bucket{le="4.0",model="moderation"}') == before + 8


def test_videos_and_pictures_at_once_all_get_their_own_answer(service: Running) -> None:
    video = films.film([Image.blend(COFFEE, ASTRONAUT, at / 20) for at in range(20)], range(20), "webm", "libvpx")
    answers: dict[str, list[Any]] = {"video": [], "picture": []}

    def ask(kind: str, body: bytes, count: int) -> None:
        answers[kind] += [send(service, body, f"{'video' if kind == 'video' else 'image'}/x") for _ in range(count)]

    threads = [threading.Thread(target=ask, args=("video", video, 1)) for _ in range(2)]
    threads += [threading.Thread(target=ask, args=("picture", file("coffee.jpg"), 5)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [status for kind in answers for status, _ in answers[kind]] == [200] * 17
    assert answers["video"][0][1]["results"] == answers["video"][1][1]["results"]
    assert {answer["results"]["nsfw"] for _, answer in answers["picture"]} == {0.0168}


def test_of_an_animated_gif_the_first_frame_is_judged(service: Running) -> None:
    one, both = io.BytesIO(), io.BytesIO()
    COFFEE.save(one, "GIF")
    COFFEE.save(both, "GIF", save_all=True, append_images=[ASTRONAUT], duration=1000)
    first, animated = (send(service, gif.getvalue(), "image/gif")[1]["results"] for gif in (one, both))
    assert animated == first


def test_what_an_alert_divides_by_is_counted_from_the_start(service: Running) -> None:
    """A series that begins with its first event hides it from rate(), and an empty sum makes an alert silent."""
    page = service.metrics()
    for of in ("image", "video"):
        assert f'moderation_verdicts_total{{label="nsfw",of="{of}"}} 0.0' in page


def test_a_video_is_finished_before_the_service_ends_and_nothing_else_is_in_its_log(tmp_path: Path) -> None:
    settings = (FOLDER / "value.py").read_bytes() + b"drain_delay_second = 0.2\n"
    with running(copy(tmp_path, **{"value.py": settings})) as service:
        answers: list[Answered] = []
        sender = threading.Thread(target=lambda: answers.append(send_video(service, films.heavy(300))))
        sender.start()
        until(lambda: len(children(service)) == 1)
        assert service.stop(signal.SIGTERM) == 0
        sender.join()
        assert answers[0][0] == 200
        assert all(line.startswith("{") for line in service.log.read_text().splitlines())


def copy(tmp_path: Path, **files: bytes | None) -> Path:
    """Return a copy of the service's folder. files: new contents by name; None removes a file."""
    folder = tmp_path / "moderation"
    shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name, content in files.items():
        path = folder / name
        path.unlink()
        if content is not None:
            path.write_bytes(content)
    return folder


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("model/open-nsfw.onnx", None, "no such file; run make model SERVICE="),
        ("model/open-nsfw.onnx", (FOLDER / "model/SHA256SUMS").read_bytes(), "open-nsfw.onnx"),
        (
            "value.py",
            (FOLDER / "value.py").read_bytes().replace(b'"max_seconds": 600', b'"most_hours": 3'),
            "value.py: options: no option most_hours; there are max_seconds, frame_from",
        ),
    ],
)
def test_a_start_that_cannot_go_well_fails_in_words(tmp_path: Path, name: str, content: bytes | None, words: str) -> None:
    failing = launch(copy(tmp_path, **{name: content}))
    try:
        assert failing.process.wait(30) == 1
    finally:
        failing.process.kill()
    last = failing.log.read_text().splitlines()[-1]
    failing.log.unlink()
    assert words in last
