"""A model that takes the same time for each batch. A share of the requests fails. Tests of canaries replace both."""

import random
import time

from serving.api import Arrays, Request, Service, TensorSpec

FAILING = 0.001  # the share of the requests that fail
SECONDS = 0.04  # of a batch
ROW = (TensorSpec("number", "FP32", (-1, 1)),)


class Steady(Service):
    def setup(self) -> None:
        self.models.add(self.settings.service_name, self.run, ROW, ROW)

    def preprocess(self, request: Request) -> Arrays:
        if random.random() < FAILING:
            raise RuntimeError("a request that was to fail")
        return super().preprocess(request)

    def run(self, arrays: Arrays) -> Arrays:
        time.sleep(SECONDS)
        return arrays
