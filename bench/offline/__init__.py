"""Records a second of `monopod offline` from Kafka to Kafka, beside the bare loop and a plain script."""
