"""The entries of all peers, as the contract wants them."""

import json

import numpy as np
import pytest

from bench.peers import forms, works
from bench.peers.answers import difference
from bench.peers.ours import before, ours
from bench.peers.peer import HERE, Peer, found, pinned
from bench.peers.works import WORKS
from bench.served import BenchError
from bench.work import HEADER_LENGTH, ROOT

PEERS = [*found(), ours()]


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_an_entry_is_complete(peer: Peer) -> None:
    assert (HERE / peer.folder).is_dir()
    assert peer.exchanges
    assert set(peer.exchanges) <= {work.name for work in WORKS}
    assert peer.version, f"{peer.folder}/requirements.txt does not pin {peer.package}"
    assert peer.settings.endswith(".")
    assert peer.lacks or set(peer.exchanges) == {work.name for work in WORKS}, "`lacks` says why work is not measured"
    assert all(link.startswith("https://") for link in peer.documentation)


@pytest.mark.parametrize("peer", [peer for peer in PEERS if peer.requirements.is_file()], ids=lambda peer: peer.name)
def test_every_requirement_is_pinned(peer: Peer) -> None:
    lines = [line.partition("#")[0].strip() for line in peer.requirements.read_text(encoding="utf-8").splitlines()]
    assert [line for line in lines if line and "==" not in line] == []
    assert {"numpy", "onnxruntime", "pillow"} <= {line.partition("==")[0].lower() for line in lines}


def test_names_differ() -> None:
    names = [peer.name for peer in PEERS]
    assert len(set(names)) == len(names)


def test_a_pin_is_read_whatever_extras_and_case_it_has() -> None:
    assert pinned("numpy==2.0\nUvicorn[standard]==0.3.1\n", "uvicorn") == "0.3.1"
    assert pinned("numpy==2.0\n", "num") == ""


def test_a_row_of_the_open_inference_protocol_is_the_same_as_json_and_as_bytes() -> None:
    text = json.loads(forms.open_inference("/x").body())["inputs"][0]
    binary = forms.open_inference_binary("/x")
    length = int(binary.headers[HEADER_LENGTH])
    assert text["data"] == works.row()[0].tolist()
    assert np.frombuffer(binary.body()[length:], np.float32).tolist() == text["data"]


def test_answers_are_read_from_json_and_from_bytes() -> None:
    body = json.dumps({"outputs": [{"data": [1.5, 2]}]}).encode()
    assert forms.open_inference("/x").read(body, {}).tolist() == [1.5, 2]
    raw = b"{}" + np.array([1.5, 2], np.float32).tobytes()
    assert forms.open_inference_binary("/x").read(raw, {HEADER_LENGTH.lower(): "2"}).tolist() == [1.5, 2]
    assert forms.json_rows("/x", answer="").read(b"[[3]]", {}).tolist() == [[3]]


def test_an_answer_that_differs_is_told_in_words() -> None:
    wanted = works.expected("small")
    assert difference(wanted.ravel() + 1e-6, wanted) == ""
    assert "is not" in difference(wanted + 0.01, wanted)
    assert "is not" in difference(wanted * np.nan, wanted)
    assert difference(wanted[0, :3], wanted) == "the answer has 3 values, not 8"


def test_a_checkout_without_an_environment_says_what_to_do() -> None:
    with pytest.raises(BenchError, match="make serve"):
        before(ROOT / "docs")
