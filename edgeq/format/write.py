# SPDX-License-Identifier: Apache-2.0
"""Plan to the bytes of a .eqm file; the same plan gives the same bytes."""

from __future__ import annotations

import bz2
import json
import zlib

import numpy as np

from edgeq.compile.constants import ConstantPool
from edgeq.compile.plan import ALIGNMENT, Plan, PlanPort
from edgeq.errors import UnsupportedError
from edgeq.format import layout
from edgeq.format.params import pack_step
from edgeq.ir.qparams import QuantParams


def write_model(plan: Plan, *, board_class: int = 0, model_version: int = 0) -> bytes:
    """Return the model file. Raises UnsupportedError when the plan has more tensors, steps or dimensions than fit."""
    if len(plan.values) > 0xFFFF or len(plan.steps) > 0xFFFF:
        raise UnsupportedError(
            f"{len(plan.steps)} steps and {len(plan.values)} tensors, a model file holds 65535 of each"
        )
    pool = ConstantPool()
    params = bytearray()
    params_offsets: dict[bytes, int] = {}  # equal parameters are stored once
    operands: list[int] = []
    steps = bytearray()
    for planned in plan.steps:
        packed = pack_step(planned.step.packed(plan.layout), pool)
        steps += layout.STEP.pack(
            code=planned.step.code,
            input_count=len(planned.inputs),
            output_count=len(planned.outputs),
            parts=planned.parts if planned.parts > 1 else 0,
            first_operand=len(operands),
            params_offset=params_offsets.setdefault(packed, len(params)),
            scratch_offset=planned.scratch_offset,
            scratch_bytes=planned.scratch_bytes,
        )
        if params_offsets[packed] == len(params):
            params += packed
        operands += [*planned.inputs, *planned.outputs]
    locations = [
        value.offset if value.data is None else pool.add(value.data)[0] | layout.CONSTANT_BIT for value in plan.values
    ]
    contents = {
        "locations": np.array(locations, "<u4").tobytes(),
        "tensor_bytes": np.array([value.bytes for value in plan.values], "<u4").tobytes(),
        "steps": bytes(steps),
        "operands": np.array(operands, "<u2").tobytes(),
        "ports": b"".join(_port(plan, port) for port in (*plan.inputs, *plan.outputs)),
        "params": bytes(params),
        "constants": bytes(pool.data),
        "metadata": bz2.compress(json.dumps(_metadata(plan), separators=(",", ":"), ensure_ascii=True).encode()),
        "golden": b"",
        "signature": b"",
    }
    places: dict[str, int] = {}
    payload = bytearray()
    for name, _ in layout.SECTIONS:
        payload += bytes(-len(payload) % ALIGNMENT)
        places[f"{name}_offset"] = layout.HEADER.size_bytes + len(payload)
        places[f"{name}_size"] = len(contents[name])
        payload += contents[name]
    payload += bytes(-len(payload) % ALIGNMENT)
    header = layout.HEADER.pack(
        magic=layout.MAGIC,
        major=layout.MAJOR,
        minor=layout.MINOR,
        header_bytes=layout.HEADER.size_bytes,
        file_bytes=layout.HEADER.size_bytes + len(payload),
        flags=layout.FLAG_KEEPS_TENSORS if plan.keeps_tensors else 0,
        kernel_abi=layout.KERNEL_ABI,
        layout=plan.layout,
        board_class=board_class,
        arena_bytes=plan.arena_bytes,
        model_version=model_version,
        work_budget=plan.macs,
        tensor_count=len(plan.values),
        step_count=len(plan.steps),
        operand_count=len(operands),
        input_count=len(plan.inputs),
        output_count=len(plan.outputs),
        **places,
        reserved=(0,) * 6,
        payload_crc=zlib.crc32(payload),
        header_crc=0,
    )[:-4]
    return header + zlib.crc32(header).to_bytes(4, "little") + bytes(payload)


def _port(plan: Plan, port: PlanPort) -> bytes:
    value = plan.values[port.value]
    if len(port.shape) > layout.MAX_RANK:
        raise UnsupportedError(f"{port.name!r} has {len(port.shape)} dimensions, a model file holds {layout.MAX_RANK}")
    quant = value.quant or QuantParams.of(1.0)
    name = port.name.replace("\0", "").encode()[: layout.NAME_BYTES].decode(errors="ignore").encode()
    return layout.PORT.pack(
        tensor=port.value,
        dtype=value.dtype.code,
        declared_dtype=port.dtype.code,
        rank=len(port.shape),
        reserved=(0,) * 3,
        dims=(*port.shape, *(1,) * (layout.MAX_RANK - len(port.shape))),
        scale_bits=int(np.float32(quant.scale).view(np.uint32)),
        zero_point=quant.zero_point,
        name=(*name, *(0,) * (layout.NAME_BYTES - len(name))),
    )


def _metadata(plan: Plan) -> dict[str, object]:
    """What only host tools need; keys are short, order is fixed."""
    return {
        "name": plan.name,
        "rounding": plan.rounding,
        "lower_bound_bytes": plan.lower_bound_bytes,
        "recomputed_macs": plan.recomputed_macs,
        "values": [
            [
                value.name,
                value.shape,
                value.dtype.name,
                None if value.quant is None else [value.quant.scales, value.quant.zero_points, value.quant.axis],
            ]
            for value in plan.values
        ],
        "steps": [[planned.name, planned.op] for planned in plan.steps],
        "ports": [[port.name, port.shape] for port in (*plan.inputs, *plan.outputs)],
        "tensors": [[tensor.name, tensor.value, tensor.shape] for tensor in plan.tensors],
    }
