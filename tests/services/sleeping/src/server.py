"""A model that sleeps for each row, or works on a core, for as long as value.py says: for tests of autoscalers."""

import time

from serving.api import Arrays, Service, TensorSpec

ROW = (TensorSpec("number", "FP32", (-1, 1)),)


class Sleeping(Service):
    def setup(self) -> None:
        self.models.add(self.settings.service_name, self.run, ROW, ROW)

    def run(self, arrays: Arrays) -> Arrays:
        rows, options = len(arrays["number"]), self.settings.options
        time.sleep(rows * float(options.get("sleeps", 0)))
        end = time.thread_time() + rows * float(options.get("works", 0))
        while time.thread_time() < end:
            pass
        return arrays
