# SPDX-License-Identifier: Apache-2.0
"""What Model.run takes and returns, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small_models import small_model

import edgeq
from edgeq.api import Model
from edgeq.errors import BadInputError, InvalidValueError, ModelFormatError, UsageError
from edgeq.format.read import read_model
from edgeq.ir.dtypes import DType


def _model(port: DType = DType.F32) -> Model:
    data = small_model(port=port)
    return Model(read_model(data), data)


def _picture() -> np.ndarray:
    return np.random.default_rng(1).integers(-9, 10, (1, 6, 6, 2)).astype(np.float32)  # (1, H, W, C)


def test_a_list_gives_a_list_and_a_dict_a_dict() -> None:
    model, x = _model(), _picture()
    (y,) = model.run([x])
    assert isinstance(model.run([x]), list)
    named = model.run({"image": x})
    assert list(named) == ["scores"]
    np.testing.assert_array_equal(named["scores"], y)
    assert y.dtype == np.float32


@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.int64, np.float16, np.float64])
def test_a_float_input_takes_numbers_of_any_dtype_as_real_values(dtype: type) -> None:
    model, x = _model(), _picture()
    np.testing.assert_array_equal(model.run([x.astype(dtype)])[0], model.run([x])[0])


def test_an_int8_input_takes_codes_and_also_floats() -> None:
    model, x = _model(DType.S8), _picture()
    codes = np.clip(np.round(x / 0.1) - 5, -128, 127).astype(np.int8)
    (y,) = model.run([codes])
    assert y.dtype == np.int8
    np.testing.assert_array_equal(model.run([x])[0], y)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64, bool])
def test_an_int8_input_refuses_other_integers(dtype: type) -> None:
    with pytest.raises(BadInputError, match=r"'image' is .*, the model takes int8"):
        _model(DType.S8).run([np.zeros((1, 6, 6, 2), dtype)])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_refused_by_the_name_of_its_input(value: float) -> None:
    x = _picture()
    x[0, 1, 2, 1] = value
    with pytest.raises(InvalidValueError, match=r"input 'image': .* at index 17 is not finite"):
        _model().run([x])


def test_wrong_inputs_are_refused_with_what_is_expected() -> None:
    model, x = _model(), _picture()
    with pytest.raises(BadInputError, match=r"pass \[x\]"):
        model.run(x)
    with pytest.raises(BadInputError, match="2 inputs given, the model has 1: image"):
        model.run([x, x])
    with pytest.raises(BadInputError, match=r"inputs \['picture'\] given, the model has \['image'\]"):
        model.run({"picture": x})
    with pytest.raises(BadInputError, match=r"shape \[6, 6, 2\], the model takes \[1, 6, 6, 2\]"):
        model.run([x[0]])
    with pytest.raises(BadInputError, match="is complex64, the model takes float32"):
        model.run([x.astype(np.complex64)])
    with pytest.raises(UsageError, match="no engine 'gpu'; engines are native, reference"):
        model.run([x], engine="gpu")


def test_loading_a_damaged_file_names_it(tmp_path: Path) -> None:
    path = tmp_path / "short.eqm"
    path.write_bytes(small_model()[:-1])
    with pytest.raises(ModelFormatError, match=r"short\.eqm': the model file should have"):
        edgeq.load(path)
