"""What grows with that which clients send has a bound: names, bodies of the admin port, descriptors, unread answers."""

from collections.abc import Iterator

import pytest

from tests.running import Running
from tests.serving import echo_service
from tests.serving.echo_service import Client, echo_request

NAMES = 50


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with echo_service.serving(tmp_path_factory) as one:
        yield one


@pytest.mark.parametrize("path", ["/v2/models/none-{}/infer", "/api/small/v1/models/none-{}:predict"])
def test_models_that_are_not_there_leave_no_series_in_the_metrics(service: Running, path: str) -> None:
    with Client(service.port) as client:
        for number in range(NAMES):
            client.send(echo_request(number).replace(b"/api/small", path.format(number).encode(), 1))
            found = client.answer()
            assert found is not None
            assert found.status == 404
    assert "none-" not in service.metrics()
    assert service.metric('monopod_queue_rows{model="small"}', absent=-1) == 0
