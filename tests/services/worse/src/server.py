"""The digits, of which a share of the requests fails. Tests of canaries replace the share."""

import random

from serving.api import Arrays, Request, Service

FAILING = 0.0  # the share of the requests that fail


class Worse(Service):
    def preprocess(self, request: Request) -> Arrays:
        if random.random() < FAILING:
            raise RuntimeError("a request that was to fail")
        return super().preprocess(request)
