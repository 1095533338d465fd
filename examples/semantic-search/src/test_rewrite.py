"""The rewritten model is close to the one in float32, and computes each row independently."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from embedding import OUTPUT
from onnx import TensorProto, helper, numpy_helper
from rewrite import rewritten
from tokens import LENGTHS, Row, Tokens, inputs

MODEL = Path(__file__).parents[1] / "model"
# The file float32_vectors.npy holds their vectors by the published all-MiniLM-L6-v2, with weights and products in float32.
TEXTS = (
    "How do I send shoes back?",
    "Your refund arrives within five working days.",
    "What is the capital of France?",
    "The mitochondrion makes most of a cell's chemical energy.",
    "hi",
    "Where is my parcel, it should have been here on Monday and nobody answers the phone?",
    "🙂 schöne Grüße aus München",
    "how much memory does a pod need",
    "A " + "very " * 40 + "long sentence.",
    "An exception in setup ends the start in words, and the pod is never ready.",
)
Array = np.ndarray[Any, np.dtype[Any]]


def session(model: bytes) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(model, options)


def test_vectors_are_close_to_those_in_float32() -> None:
    tokens, model = Tokens(MODEL / "tokenizer.json"), session((MODEL / "minilm.onnx").read_bytes())
    vectors = np.concatenate([model.run([OUTPUT], inputs([tokens.row(text)]))[0] for text in TEXTS])
    right = np.load(Path(__file__).parent / "float32_vectors.npy").astype(np.float32)
    cosines = (vectors * right).sum(1)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
    assert cosines.min() > 0.98
    assert cosines.mean() > 0.99


@pytest.mark.parametrize("length", LENGTHS)
def test_a_row_has_the_same_vector_to_the_last_bit_in_a_batch_of_any_size(length: int) -> None:
    rng, model = np.random.default_rng(length), session((MODEL / "minilm.onnx").read_bytes())
    counts = rng.integers(LENGTHS[LENGTHS.index(length) - 1] + 1 if length > LENGTHS[0] else 3, length + 1, 8)
    rows = [Row((101, *rng.integers(1000, 30000, count - 2).tolist(), 102), 0) for count in counts]
    alone = np.concatenate([model.run([OUTPUT], inputs([row]))[0] for row in rows])
    for size in (2, 3, 5, 8):
        places = rng.permutation(8)[:size]
        together = model.run([OUTPUT], inputs([rows[place] for place in places]))[0]
        assert (together == alone[places]).all(), size


def test_the_file_holds_its_weights_in_int8_and_none_twice() -> None:
    held = {
        name: numpy_helper.to_array(each) for each in onnx.load(MODEL / "minilm.onnx").graph.initializer if (name := each.name)
    }
    small = sum(array.size for array in held.values() if array.dtype == np.int8)
    assert small > 22_000_000
    assert sum(array.nbytes for array in held.values()) - small < 1_000_000


def small_model(rng: np.random.Generator, *, output: str = "last_hidden_state") -> tuple[onnx.ModelProto, Array, Array]:
    """Return a model that looks up rows of an int8 table and multiplies them by an int8 matrix, and both in float32."""
    table = rng.integers(-127, 128, (50, 16), np.int8)
    # A processor without VNNI adds pairs of products in 16 bits, and weights of 7 bits keep those sums from overflowing.
    matrix = rng.integers(-63, 64, (16, 8), np.int8)
    by_row, by_column = (rng.uniform(0.01, 0.1, size).astype(np.float32) for size in ((50, 1), (1, 8)))
    arrays = {"t_q": table, "t_s": by_row, "m_q": matrix, "m_s": by_column, "out.LayerNorm.bias": np.zeros(8, np.float32)}
    nodes = [
        helper.make_node("Cast", ["t_q"], ["t_f"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["t_f", "t_s"], ["t"]),
        helper.make_node("Cast", ["m_q"], ["m_f"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["m_f", "m_s"], ["m"]),
        helper.make_node("Gather", ["t", "input_ids"], ["x"]),
        helper.make_node("MatMul", ["x", "m"], ["y"]),
        helper.make_node("Add", ["y", "out.LayerNorm.bias"], [output]),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info(name, TensorProto.INT64, ["n", "l"]) for name in ("input_ids", "attention_mask")],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["n", "l", 8])],
        [numpy_helper.from_array(value, name) for name, value in arrays.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    return model, table * by_row, matrix * by_column


def test_a_rewritten_product_is_that_of_rows_quantised_each_by_itself() -> None:
    rng = np.random.default_rng(0)
    model, table, matrix = small_model(rng)
    ids = rng.integers(0, 50, (3, 5))
    mask = np.array([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [1, 0, 0, 0, 0]])
    x = table[ids]
    scale = abs(x).max(-1, keepdims=True) / 127
    right = ((np.round(x / scale) * scale) @ matrix * mask[..., None]).sum(1)
    right /= np.linalg.norm(right, axis=1, keepdims=True)
    vectors = session(rewritten(model).SerializeToString()).run([OUTPUT], {"input_ids": ids, "attention_mask": mask})[0]
    assert vectors == pytest.approx(right, abs=1e-5)


def test_a_row_of_padding_alone_is_no_nan() -> None:
    model, _, _ = small_model(np.random.default_rng(0))
    nothing = np.zeros((1, 4), np.int64)
    vectors = session(rewritten(model).SerializeToString()).run([OUTPUT], {"input_ids": nothing, "attention_mask": nothing})[0]
    assert vectors.tolist() == [[0] * 8]


def test_another_model_is_refused() -> None:
    model, _, _ = small_model(np.random.default_rng(0), output="logits")
    with pytest.raises(ValueError, match="1 products with int8 weights, outputs logits: this is another model"):
        rewritten(model)
