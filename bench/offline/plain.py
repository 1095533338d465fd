"""The script that a team writes without a platform: poll, decode, run the model, produce.

Has no batches, no retries, no dead letters and no metrics.

`python -m bench.offline.plain BROKERS SOURCE SINK GROUP FOLDER` runs until SIGTERM.
"""

import signal
import sys
from pathlib import Path

from confluent_kafka import Consumer, Producer

from serving.base import json_codec
from serving.service.loader import open_service, set_up
from serving.service.request import make_request


def main() -> int:
    brokers, source, sink, group, folder = sys.argv[1:]
    over = list[int]()
    signal.signal(signal.SIGTERM, lambda number, _: over.append(number))
    service = open_service(Path(folder))
    set_up(service)
    settings = {"bootstrap.servers": brokers, "group.id": group, "auto.offset.reset": "earliest", "enable.auto.commit": True}
    consumer, producer = Consumer(settings), Producer({"bootstrap.servers": brokers})
    consumer.subscribe([source])
    while not over:
        message = consumer.poll(0.1)
        if message is None or message.error():
            continue
        value = message.value() or b""
        json = value.startswith(b"{")
        request = make_request(data=json_codec.loads(value)["data"]) if json else make_request(image=value)
        producer.produce(sink, json_codec.dumps({"results": service.handle(request), "msg": ""}), message.key())
        producer.poll(0)
    producer.flush(10)
    consumer.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
