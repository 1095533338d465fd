"""The digits, answered with a word: what a tag names after other code was pushed to it."""

from typing import Any

from serving.api import Arrays, Request, Service


class Other(Service):
    def postprocess(self, outputs: Arrays, request: Request) -> Any:
        return {"word": "other", "rows": len(outputs["logits"])}
