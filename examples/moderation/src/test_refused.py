"""Hostile, broken and too many videos, sent through sockets: each is refused with its reason, and nothing is left behind."""

import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from sending import COFFEE, ROUTE, Answered, children, file, send, send_form, send_video

from serving.testing import peak_bytes, resident_bytes
from tests import films
from tests.memory import MIB, forget_peak
from tests.running import Running, post_json
from tests.waiting import until


def test_a_video_that_is_not_judged_is_refused_in_words_and_counted(service: Running) -> None:
    for video, wanted, cause, words in (
        (films.sound(), 400, "streams", "the video holds no stream of pictures; send a video"),
        (films.film([films.picture("coffee.jpg", (6016, 4200))], [0], "mov", "mjpeg"), 413, "too_many_pixels", "6016 x 4200"),
    ):
        name = f'monopod_videos_refused_total{{cause="{cause}"}}'
        before = service.metric(name)
        status, answer = send_video(service, video)
        assert (status, answer["reason"]) == (wanted, "bad_input" if wanted == 400 else "too_large"), answer
        assert words in answer["error"]
        assert service.metric(name) == before + 1
        assert children(service) == []


@pytest.mark.parametrize("live", ["0", "1"], ids=["said by the header", "found while reading"])
def test_a_video_of_over_ten_minutes_is_refused_wherever_its_length_is_found(service: Running, live: str) -> None:
    video = films.film([COFFEE] * 3, [0, 1, 10799], "webm", "libvpx", live=live)
    status, answer = send_video(service, video)
    assert (status, answer["reason"]) == (413, "too_large")
    assert "the video is longer than 10:00; send a part of it" in answer["error"]


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
        assert "of no accepted container" in send_video(service, body)[1]["error"]
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
    assert "not a picture of a kind that can be read" in send(service, video, "image/jpeg")[1]["error"]


def test_a_phones_heic_is_told_which_kinds_are_taken(service: Running) -> None:
    heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(500)
    for kind, words in (("image/heic", "not a picture of a kind that can be read; send JPEG"), ("video/mp4", "of no accepted")):
        status, answer = send(service, heic, kind)
        assert (status, words in answer["error"]) == (400, True), answer


def test_broken_pictures_are_the_clients_400(service: Running) -> None:
    whole = file("coffee.jpg")
    for broken in (whole[: len(whole) // 2], b"no picture", b"\xff\xd8\xff" + bytes(500), b"GIF89a"):
        status, answer = send(service, broken, "image/jpeg")
        assert (status, answer["reason"]) == (400, "bad_input")
    assert send(service, whole, "image/jpeg")[0] == 200


def test_one_more_video_than_are_decoded_at_once_waits_and_pictures_go_on(service: Running) -> None:
    heavy = films.heavy()
    with contextlib.ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(sending(service, heavy))
        until(lambda: len(children(service)) == 2)
        answers: list[Answered] = []
        third = threading.Thread(target=lambda: answers.append(send_video(service, films.film([COFFEE], [0]))))
        third.start()
        until(lambda: service.metric("monopod_videos_waiting") == 1)
        assert send(service, file("coffee.jpg"), "image/jpeg")[0] == 200
        assert answers == []
    third.join()
    assert answers[0][0] == 200
    until(lambda: children(service) == [])


@contextlib.contextmanager
def sending(service: Running, video: bytes) -> Iterator[None]:
    """Send a video without waiting for an answer, and close the connection at the end of the block."""
    connection = http.client.HTTPConnection("127.0.0.1", service.port)
    connection.request("POST", ROUTE, video, {"Content-Type": "video/x-matroska"})
    try:
        yield
    finally:
        connection.close()


def test_a_video_that_its_deadline_has_no_time_for_is_refused_at_its_head(service: Running) -> None:
    began = time.monotonic()
    status, answer = send_video(service, films.heavy(), **{"X-Request-Timeout-Ms": "2000"})
    assert (status, answer["reason"]) == (413, "too_large")
    assert "takes longer than the request may take" in answer["error"]
    assert time.monotonic() - began < 10, "all of it takes 20 s"
    until(lambda: children(service) == [])


def test_hostile_videos_leave_the_services_memory_as_it_was(service: Running) -> None:
    bodies = [films.bomb(), films.growing((320, 240), (3840, 2160)), films.heavy()]
    send_video(service, bodies[-1], **{"X-Request-Timeout-Ms": "800"})
    forget_peak(service.process.pid)
    before = resident_bytes(service.process.pid)
    for body in bodies:
        assert send_video(service, body, **{"X-Request-Timeout-Ms": "800"})[0] in (200, 400, 413, 504)
    assert peak_bytes(service.process.pid) - before < 100 * MIB, "the largest body has 12 MiB"
