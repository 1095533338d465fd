"""A pod's service: the stand-in for a card, which counts the seconds for which it was busy and its rows."""

from bench.pods.card import INPUT, OUTPUT, WIDTH, Card
from serving.api import Arrays, Service, TensorSpec


class CardService(Service):
    """One model on one card. It is called by the Open Inference Protocol alone."""

    def setup(self) -> None:
        self.card = Card()
        self.busy = self.metrics.counter("card_busy_seconds_total", "Seconds for which the card was busy.")
        self.rows = self.metrics.counter("card_rows_total", "Rows that the card computed.")
        inputs = (TensorSpec(INPUT, "FP32", (-1, WIDTH)),)
        self.models.add(self.settings.service_name, self.run, inputs, (TensorSpec(OUTPUT, "FP32", (-1, 1)),))

    def run(self, arrays: Arrays) -> Arrays:
        sums, seconds = self.card.run(arrays[INPUT])
        self.busy.inc(seconds)
        self.rows.inc(len(sums))
        return {OUTPUT: sums}
