import numpy as np
import pytest

from serving.models.tensors import DATATYPES, datatype_of


@pytest.mark.parametrize("name", DATATYPES)
def test_every_datatype_is_found_by_its_arrays(name: str) -> None:
    assert datatype_of(np.zeros(2, DATATYPES[name])) == name


def test_texts_are_bytes_and_what_the_protocol_lacks_is_a_key_error() -> None:
    assert datatype_of(np.array(["a"])) == "BYTES"
    with pytest.raises(KeyError):
        datatype_of(np.zeros(2, np.complex64))
