"""The one module that a service's own code imports, and the names that older forks still import from elsewhere."""

import pytest

from serving import api, service


@pytest.mark.parametrize("name", sorted(service.MOVED_TO_API))
def test_what_older_forks_import_from_serving_service_is_found_with_a_warning(name: str) -> None:
    with pytest.warns(FutureWarning, match=f"{name} is imported from serving.service; import it from serving.api"):
        assert getattr(service, name) is getattr(api, name)


def test_a_name_that_never_stood_there_is_told_where_names_stand() -> None:
    with pytest.raises(ImportError, match="cannot import name 'Sevrice' from 'serving.service'"):
        exec("from serving.service import Sevrice")
