# SPDX-License-Identifier: Apache-2.0
"""Damaged model files: every bit, every length, every header field; Python and C refuse them or nothing is harmed."""

from __future__ import annotations

import bz2
import dataclasses
import json
import struct
from functools import cache

import numpy as np
import pytest
from graphbuilder import Builder
from hypothesis import given, settings
from hypothesis import strategies as st
from loader import header_offsets, mended, open_status, with_longer_header

from edgeq.compile.plan import Plan
from edgeq.compile.planner import make_plan
from edgeq.errors import EdgeqError, ModelFormatError
from edgeq.format import layout
from edgeq.format.read import parse_metadata, read_model
from edgeq.format.write import write_model
from edgeq.ops.add import Add
from edgeq.ops.base import Rounding
from edgeq.ops.conv2d import Conv2d
from edgeq.ops.logistic import Logistic
from edgeq.ops.packing import LAYOUT_NAMES
from edgeq.quantize.static import quantize_for_shape
from edgeq.runtime.reference import run_reference


@cache
def _small() -> tuple[Plan, bytes]:
    """A model of about 2 kB: a convolution with scratch memory, a sum and a table."""
    rng = np.random.default_rng(1)
    b = Builder()
    x = b.input(1, 3, 3, 2)
    weights = b.constant(rng.standard_normal((2, 3, 3, 2)))
    y = b.node(Conv2d(padding="same"), x, weights, b.constant(rng.standard_normal(2)))
    graph = quantize_for_shape(b.graph(b.node(Logistic(), b.node(Add(), x, y))))
    plan = make_plan(graph, rounding=Rounding.NATIVE)
    return plan, write_model(plan)


@cache
def _example() -> tuple[np.ndarray, np.ndarray]:
    plan, _ = _small()
    codes = np.random.default_rng(2).integers(-128, 128, plan.inputs[0].shape).astype(np.int8)
    return codes, run_reference(plan, [codes]).outputs[0]


def _refused(data: bytes) -> bool:
    try:
        read_model(data)
    except EdgeqError:
        return True
    return False


def test_the_model_is_small_and_whole() -> None:
    _, data = _small()
    assert len(data) < 3000
    assert open_status(data) == "EQ_OK"
    assert not _refused(data)


def test_every_flipped_bit_is_noticed() -> None:
    _, data = _small()
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        assert open_status(damaged) != "EQ_OK", f"C took bit {bit % 8} of byte {bit // 8}"
        assert _refused(bytes(damaged)), f"Python took bit {bit % 8} of byte {bit // 8}"


def test_every_truncation_is_noticed() -> None:
    _, data = _small()
    for length in range(len(data)):
        assert open_status(data[:length]) == ("EQ_ERR_TRUNCATED"), length
        assert _refused(data[:length]), length


@pytest.mark.parametrize("name", [name for name in header_offsets() if name != "header_crc"])
def test_header_fields_are_refused_or_harmless(name: str) -> None:
    """With every CRC mended, a changed field is refused or changes no result; C never takes what Python refuses."""
    _, data = _small()
    codes, expected = _example()
    offset, code = header_offsets()[name]
    n = struct.unpack_from(code, data, offset)[0]
    mask = (1 << 8 * struct.calcsize(code)) - 1
    for value in {0, 1, n - 1, n + 1, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, offset}:
        if value & mask == n:
            continue
        changed = bytearray(data)
        struct.pack_into(code, changed, offset, value & mask)
        for damaged in (bytes(changed), mended(changed) if name != "header_bytes" else bytes(changed)):
            status = open_status(damaged)
            if _refused(damaged):
                assert status != "EQ_OK" or name.startswith(("metadata", "golden", "signature")), (value, status)
                continue
            found = run_reference(read_model(damaged), [codes]).outputs[0]
            np.testing.assert_array_equal(found, expected, f"{name} = {value}")


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_changed_payloads_give_one_kind_of_error(data: st.DataObject) -> None:
    """Any bytes changed, CRCs mended: the reader returns a plan or raises EdgeqError."""
    changed = bytearray(_small()[1])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(layout.HEADER.size_bytes, len(changed) - 4))
        value = data.draw(st.one_of(st.integers(0, 255), st.sampled_from([0, 0xFFFFFFFF, 0x7FFFFFFF, 0x80000000])))
        struct.pack_into("<B" if value < 256 else "<I", changed, at, value)
    _refused(mended(changed))


METADATA = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_strange_metadata_give_one_kind_of_error(data: st.DataObject) -> None:
    header = layout.HEADER.unpack(_small()[1], 0)
    start, size = header["metadata_offset"], header["metadata_size"]
    metadata = parse_metadata(_small()[1][start : start + size])
    key = data.draw(st.sampled_from(sorted(metadata)))
    if data.draw(st.booleans()) or not isinstance(metadata[key], list) or not metadata[key]:
        metadata[key] = data.draw(METADATA)
    else:
        metadata[key][data.draw(st.integers(0, len(metadata[key]) - 1))] = data.draw(METADATA)
    text = json.dumps(metadata).encode()
    _refused(_with_metadata(bz2.compress(text) if data.draw(st.booleans()) else text))


STRANGE = [b"", b"[", b"[" * 100000, b"\xff\xfe", b"null", b"[]", b"{}", b'"x"', b"1e999"]
CUT = [b"BZh", b"BZh9", bz2.compress(b"{}")[:-1], bz2.compress(b"{}").replace(b"1AY", b"1BY")]


@pytest.mark.parametrize("text", [*STRANGE, *map(bz2.compress, STRANGE), *CUT])
def test_metadata_that_is_no_description_is_refused(text: bytes) -> None:
    assert _refused(_with_metadata(text))


def test_metadata_that_grow_without_end_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgeq.format.read.MAX_METADATA_BYTES", 1 << 16)
    with pytest.raises(ModelFormatError, match="more than 65536 bytes"):
        read_model(_with_metadata(bz2.compress(bytes(1 << 20))))


def test_plain_metadata_of_earlier_versions_are_read() -> None:
    data = _small()[1]
    header = layout.HEADER.unpack(data, 0)
    packed = data[header["metadata_offset"] :][: header["metadata_size"]]
    plain = _with_metadata(bz2.decompress(packed))
    assert write_model(read_model(plain)) == data


def _with_metadata(text: bytes) -> bytes:
    data = _small()[1]
    header = layout.HEADER.unpack(data, 0)
    end = header["metadata_offset"] + len(text)
    header.update(metadata_size=len(text), file_bytes=end + -end % 16)
    for name in ("golden", "signature"):
        header.update({f"{name}_offset": end + -end % 16, f"{name}_size": 0})
    payload = data[layout.HEADER.size_bytes : header["metadata_offset"]] + text + bytes(-end % 16)
    return mended(layout.HEADER.pack(**header) + payload)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=400), st.booleans())
def test_any_bytes_give_one_kind_of_error(data: bytes, starts_like_a_model: bool) -> None:
    assert _refused(layout.MAGIC.to_bytes(4, "little") + data if starts_like_a_model else data)


def test_the_layouts_of_weights_are_known_by_their_codes() -> None:
    plan, data = _small()
    for code in LAYOUT_NAMES:
        assert open_status(write_model(dataclasses.replace(plan, layout=code))) == "EQ_OK"
    header = layout.HEADER.unpack(data, 0)
    header.update(layout=max(LAYOUT_NAMES) + 1)
    newer = mended(layout.HEADER.pack(**header) + data[layout.HEADER.size_bytes :])
    assert open_status(newer) == "EQ_ERR_LAYOUT"
    with pytest.raises(ModelFormatError, match=f"layout {header['layout']}: made by a newer edgeq"):
        read_model(newer)


def test_a_newer_minor_version_may_append_to_the_header() -> None:
    longer = with_longer_header(_small()[1])
    codes, expected = _example()
    assert open_status(longer) == "EQ_OK"
    np.testing.assert_array_equal(run_reference(read_model(longer), [codes]).outputs[0], expected)
