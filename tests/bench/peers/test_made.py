"""The models and the picture that all peers serve."""

import numpy as np

from bench.peers import made, works
from bench.peers.parts import peer_parts


def test_the_same_bytes_come_out_every_time() -> None:
    for make in (*made.MAKERS.values(), made._picture):
        assert make() == make()


def test_the_picture_has_about_17_kb() -> None:
    assert 16_000 < len(works.jpeg()) < 18_000


def test_both_nets_answer_a_row_and_a_batch_alike() -> None:
    for service, rows in (("small", works.row()), ("jpeg", peer_parts.pixels(works.jpeg()))):
        session = peer_parts.session(str(made.model(service)))
        batch = peer_parts.run(session, np.concatenate([rows, rows]))
        assert batch.shape == (2, 8)
        assert np.abs(batch - works.expected(service)).max() < 1e-4
        assert np.abs(batch).max() > 0.1
