"""Moderation: a picture or a video in; safe or nsfw out, and for a video the score of each second too."""

import contextlib
import dataclasses
import itertools
import math
import threading
from typing import Any

import nsfw
from parts import Parts
from reading import Reading
from sampling import SIDE, Ending, Limits, Refused, clock_words, container

from serving.api import BadInput, QueueFull, Request, Service, StartError, TooLarge, make_request

HOW = "send a picture (-F image=@picture.jpg) or a video (-F video=@video.mp4)"
TOO_LARGE = ("too_many_pixels", "too_long", "too_many_frames", "too_heavy", "memory")  # answered with 413, all others with 400
REASONS = ("busy", "container", "broken", "streams", "codec", "no_frame", "crash", *TOO_LARGE)
NO_VIDEO = b"RIFF\0\0\0\0AVI "


class Moderation(Service):
    """Yahoo's open_nsfw.

    Concurrency. `handle` runs on one thread for each request. `cores` lets one picture be decoded for each core: more threads
    would only hold more pixels. `decoders` bounds the videos that are decoded at once, each by a process. One more is refused,
    since a waiting body takes memory. No thread takes one of the two semaphores while it has the other.
    """

    pictures = videos = True

    def setup(self) -> None:
        options: dict[str, Any] = {"most_videos": 2} | self.settings.options
        self.most_videos = options.pop("most_videos")
        known = {field.name: kind for kind in (Limits, nsfw.Rule) for field in dataclasses.fields(kind)}
        if unknown := sorted(set(options) - set(known)):
            raise StartError(f"value.py: options: no option {', '.join(unknown)}; there are most_videos, {', '.join(known)}")
        try:
            if type(self.most_videos) is not int or self.most_videos < 1:
                raise ValueError(f"most_videos is {self.most_videos!r}; it must be a whole number from 1 on")
            self.limits = Limits(**{name: value for name, value in options.items() if known[name] is Limits})
            self.rule = nsfw.Rule(**{name: value for name, value in options.items() if known[name] is nsfw.Rule})
        except ValueError as error:
            raise StartError(f"value.py: options: {error}") from error
        self.decoders = threading.Semaphore(self.most_videos)
        self.cores = threading.Semaphore(math.ceil(self.settings.cpu))
        self.make_metrics()
        self.try_decoder()

    def make_metrics(self) -> None:
        self.frames = self.metrics.counter("moderation_frames_total", "Frames of videos that the model has judged.")
        self.verdicts = self.metrics.counter("moderation_verdicts_total", "Pictures and videos judged.", ("of", "label"))
        self.refused = self.metrics.counter("moderation_videos_refused_total", "Videos not judged.", ("reason",))
        for reason in REASONS:
            self.refused.labels(reason)  # every reason begins at 0, so that rate() sees its first count and no sum is empty
        for of, label in itertools.product(("image", "video"), ("safe", "nsfw")):
            self.verdicts.labels(of, label)

    def try_decoder(self) -> None:
        """Run the decoder once, on bytes that are not a video, so that the start fails where it cannot run.

        Raises RuntimeError.
        """
        with contextlib.suppress(Refused), Reading(NO_VIDEO, self.limits, make_request(seconds=30).life) as reading:
            list(reading)

    def handle(self, request: Request) -> dict[str, Any]:
        if request.video_bytes is not None:
            return self.judge_video(request.video_bytes, request)
        if request.image_bytes is None:
            raise BadInput(f"neither a picture nor a video came; {HOW}")
        if container(request.image_bytes):
            raise BadInput(f"a video came as a picture; {HOW}, or its bytes with -H 'Content-Type: video/mp4'")
        with self.cores:
            rows = nsfw.rows([nsfw.of_picture(request.image(at_least=(SIDE, SIDE)))])
        score = float(self.model({"input:0": rows}, request)["outputs"][0, 1])
        return self.verdict("image", [score])

    def judge_video(self, video: bytes, request: Request) -> dict[str, Any]:
        if not self.decoders.acquire(blocking=False):
            self.refused.labels("busy").inc()
            raise QueueFull(f"{self.most_videos} videos are being decoded, the most at once; try again in a few seconds")
        try:
            with Reading(video, self.limits, request.life) as reading:
                return self.judge_frames(reading, request)
        except Refused as refused:
            self.refused.labels(refused.reason).inc()
            raise (TooLarge if refused.reason in TOO_LARGE else BadInput)(str(refused)) from refused
        finally:
            self.decoders.release()

    def judge_frames(self, reading: Reading, request: Request) -> dict[str, Any]:
        parts, seconds = Parts(self.model, self.settings.max_rows_per_request, request), []
        for found in reading:
            if isinstance(found, Ending):
                ending = found
            else:
                seconds.append(found.seconds)
                parts.add(nsfw.of_sample(found))
        scores = parts.scores()
        self.frames.inc(len(scores))
        frames = [
            {"label": f"nsfw at {clock_words(at)}", "score": round(score, 4), "seconds": round(at, 3)}
            for at, score in zip(seconds, scores, strict=True)
        ]
        of_all = {"share": round(self.rule.share(scores), 4), "seconds": round(ending.seconds, 3), "damaged": ending.damaged}
        return self.verdict("video", scores) | of_all | {"frames": frames}

    def verdict(self, of: str, scores: list[float]) -> dict[str, Any]:
        label, worst = self.rule.label(scores), max(scores)
        self.verdicts.labels(of, label).inc()
        return {"label": label, "score": round(worst if label == "nsfw" else 1 - worst, 4), "nsfw": round(worst, 4)}
