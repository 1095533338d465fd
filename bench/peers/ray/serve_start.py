"""Starts a Ray of its own on loopback and its Serve, and ends both on SIGTERM."""

import os
import signal
import threading

import ray
from ray import serve
from serve_net import app

OBJECTS = 200_000_000  # bytes of Ray's store of objects, which requests do not use
QUIET = {"enable_access_log": False}

over = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: over.set())
ray.init(
    address="local",
    include_dashboard=False,
    num_cpus=2,
    object_store_memory=OBJECTS,
    _temp_dir=os.environ["PEER_SCRATCH"],
    log_to_driver=False,
)
serve.start(http_options={"host": "127.0.0.1", "port": int(os.environ["PEER_PORT"])}, logging_config=QUIET)
serve.run(app, logging_config=QUIET)
while not over.wait(0.2):  # a signal interrupts no longer wait of the main thread
    pass
ray.shutdown()
