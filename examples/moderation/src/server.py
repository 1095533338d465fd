"""Moderation: a picture or a video in; safe or nsfw out, and for a video the score of each second too."""

import dataclasses
import itertools
import math
import threading
from collections.abc import Iterator
from typing import Any

import nsfw

from serving.api import Arrays, BadInput, Request, Service, StartError, TooLarge

HOW = "send a picture (-F image=@picture.jpg) or a video (-F video=@video.mp4)"
STEP = 1.0  # seconds between two frames that are judged


class Moderation(Service):
    """Yahoo's open_nsfw.

    Concurrency. `handle` runs on one thread for each request. `cores` lets one picture be decoded for each core: more threads
    would only hold more pixels.
    """

    pictures = videos = True

    def setup(self) -> None:
        known = ["max_seconds", *(field.name for field in dataclasses.fields(nsfw.Rule))]
        if unknown := sorted(set(self.settings.options) - set(known)):
            raise StartError(f"value.py: options: no option {', '.join(unknown)}; there are {', '.join(known)}")
        self.max_seconds = self.option("max_seconds", 600, 1, 86400)
        try:
            options: dict[str, Any] = {name: value for name, value in self.settings.options.items() if name != "max_seconds"}
            self.rule = nsfw.Rule(**options)
        except ValueError as error:
            raise StartError(f"value.py: options: {error}") from error
        self.cores = threading.Semaphore(math.ceil(self.settings.cpu))
        self.frames = self.metrics.counter("moderation_frames_total", "Frames of videos that the model has judged.")
        self.verdicts = self.metrics.counter("moderation_verdicts_total", "Pictures and videos judged.", ("of", "label"))
        for of, label in itertools.product(("image", "video"), ("safe", "nsfw")):
            self.verdicts.labels(of, label)  # each begins at 0, so that rate() sees its first count and no sum is empty

    def handle(self, request: Request) -> dict[str, Any]:
        if request.video_bytes is not None:
            return self.judge_video(request)
        if request.image_bytes is None:
            raise BadInput(f"neither a picture nor a video came; {HOW}")
        with self.cores:
            rows = nsfw.rows([nsfw.of_picture(request.image(at_least=(nsfw.SIDE, nsfw.SIDE)))])
        score = float(self.model({"input:0": rows}, request)["outputs"][0, 1])
        return self.verdict("image", [score])

    def judge_video(self, request: Request) -> dict[str, Any]:
        found, seconds = request.frames(every=STEP, at_least=(nsfw.SIDE, nsfw.SIDE)), list[float]()

        def groups() -> Iterator[Arrays]:
            while group := list(itertools.islice(found, self.settings.max_rows_per_request)):
                seconds.extend(frame.seconds for frame in group)
                if seconds[-1] > self.max_seconds:
                    raise TooLarge(f"the video is longer than {clock_words(self.max_seconds)}; send a part of it")
                yield {"input:0": nsfw.rows([nsfw.of_frame(frame.pixels) for frame in group])}

        scores = [float(score) for score in self.model(groups(), request)["outputs"][:, 1]]
        assert found.ending is not None
        self.frames.inc(len(scores))
        frames = [
            {"label": f"nsfw at {clock_words(at)}", "score": round(score, 4), "seconds": round(at, 3)}
            for at, score in zip(seconds, scores, strict=True)
        ]
        end, damaged = round(found.ending.seconds, 3), found.ending.damaged
        of_all = {"share": round(self.rule.share(scores), 4), "seconds": end, "damaged": damaged, "frames": frames}
        return self.verdict("video", scores) | of_all

    def verdict(self, of: str, scores: list[float]) -> dict[str, Any]:
        label, worst = self.rule.label(scores), max(scores)
        self.verdicts.labels(of, label).inc()
        return {"label": label, "score": round(worst if label == "nsfw" else 1 - worst, 4), "nsfw": round(worst, 4)}


def clock_words(seconds: float) -> str:
    """Return a time as video players show it: 0:07, 12:30, 3:00:00."""
    whole = int(seconds)
    minutes = f"{whole // 60}" if whole < 3600 else f"{whole // 3600}:{whole // 60 % 60:02}"
    return f"{minutes}:{whole % 60:02}"
