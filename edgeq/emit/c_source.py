# SPDX-License-Identifier: Apache-2.0
"""A Plan as C: one source file that calls the same operators in the same order as the interpreter, and its header."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np

from edgeq.compile.constants import ConstantPool
from edgeq.compile.plan import ALIGNMENT, Plan, PlannedStep, PlanPort
from edgeq.emit.kernel_tables import KernelTable, called_kernels
from edgeq.errors import UnsupportedError, UsageError
from edgeq.ir.dtypes import DType
from edgeq.ops.base import Step, step_fields
from edgeq.ops.packing import PORTABLE

_CONSTANT_BIT = 0x80000000
_C_TYPES = {
    DType.S8: "int8_t",
    DType.U8: "uint8_t",
    DType.S16: "int16_t",
    DType.S32: "int32_t",
    DType.S64: "int64_t",
    DType.BOOL: "uint8_t",
}


# Names of files that the emitted ones would hide: the example's own, and the headers of the C library.
TAKEN_PREFIXES = {
    "main", "assert", "complex", "ctype", "errno", "fenv", "float", "inttypes", "iso646", "limits", "locale", "malloc",
    "math", "memory", "setjmp", "signal", "stdalign", "stdarg", "stdatomic", "stdbool", "stddef", "stdint", "stdio",
    "stdlib", "stdnoreturn", "string", "strings", "tgmath", "threads", "time", "uchar", "unistd", "wchar", "wctype",
}  # fmt: skip


def check_prefix(prefix: str) -> str:
    """Return the prefix of every emitted name and file. Raises UsageError when it is no C identifier, or taken."""
    if prefix.lower() in TAKEN_PREFIXES:
        raise UsageError(f"{prefix!r} cannot prefix C names: there is a file {prefix.lower()}.h or {prefix.lower()}.c")
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,30}", prefix) or prefix.lower().startswith("eq_"):
        raise UsageError(
            f"{prefix!r} cannot prefix C names: a letter, then up to 30 letters, digits or underscores, not eq_..."
        )
    return prefix


def model_source(plan: Plan, prefix: str, table: KernelTable | None = None) -> str:
    """Return the C source of a plan. Every name in it starts with the prefix, so that sources can be joined.

    With a table it calls the kernels of one core, whose order its weights have; else the fastest of whatever runs it.
    """
    _check_size(plan)
    layout = PORTABLE if table is None else table.layout
    pool = ConstantPool()
    structs: list[str] = []
    calls: list[str] = []
    operands: list[int] = []
    for index, planned in enumerate(plan.steps):
        structs.append(_params(planned.step.packed(layout), f"{prefix}_params_{index}", pool))
        io = f"{len(operands)}, {len(planned.inputs)}, {len(planned.outputs)}"
        io += f", {planned.scratch_offset}, {planned.scratch_bytes}"
        calls.append(
            f"  /* {comment_text(planned.op)} {comment_text(planned.name)} */\n"
            f"  {prefix}_bind(&io, {io});\n"
            f"  eq_op_{planned.step.name}(&io, &{prefix}_params_{index});\n"
        )
        operands += [*planned.inputs, *planned.outputs]
    locations = [
        value.offset if value.data is None else pool.add(value.data)[0] | _CONSTANT_BIT for value in plan.values
    ]
    return _SOURCE.format(
        name=comment_text(plan.name),
        prefix=prefix,
        PREFIX=prefix.upper(),
        layout=layout,
        condition="" if table is None else _condition(table),
        kernels="" if table is None else _kernels(plan, prefix, table),
        chosen="eq_kernels_select(NULL)" if table is None else f"&{prefix}_kernels",
        constants=_array(f"0x{word:x}" for word in _words(pool.data)),
        locations=_array(f"0x{location:x}" for location in locations or [0]),
        operands=_array(str(operand) for operand in operands or [0]),
        structs="\n".join(structs),
        calls="".join(calls) or f"  {prefix}_bind(&io, 0, 0, 0, 0, 0);\n",
        pointers="\n".join(
            f"{declaration} {{ return {_pointer(plan, port, prefix, locations[port.value], writable=writable)}; }}"
            for declaration, port, writable in _accessors(plan, prefix)
        ),
    )


def model_header(plan: Plan, prefix: str) -> str:
    """Return the header: how to reach each input and output, what its codes mean, and how to run."""
    parts = []
    for kind, ports in (("input", plan.inputs), ("output", plan.outputs)):
        for index, port in enumerate(ports):
            value = plan.values[port.value]
            name = f"{prefix.upper()}_{kind.upper()}_{index}"
            shape = "".join(f"[{size}]" for size in port.shape)
            about = f'{kind} {index}, "{comment_text(port.name)}": {value.dtype.numpy.name}{shape}'
            lines = [f"#define {name}_BYTES {value.bytes}"]
            if value.quant is not None and not value.quant.is_per_channel:
                scale = np.float32(value.quant.scale)
                about += f"; real = {scale!s} * (code - {value.quant.zero_point})"
                lines.append(f"#define {name}_SCALE_BITS UINT32_C(0x{int(scale.view(np.uint32)):08x}) /* a float32 */")
                lines.append(f"#define {name}_ZERO_POINT ({value.quant.zero_point})")
            parts.append("\n".join([f"/* {about} */", *lines]))
    return _HEADER.format(
        name=comment_text(plan.name),
        prefix=prefix,
        PREFIX=prefix.upper(),
        arena_bytes=plan.arena_bytes,
        ports="\n\n".join(parts),
        pointers="\n".join(f"{declaration};" for declaration, _, _ in _accessors(plan, prefix)),
    )


def comment_text(text: str) -> str:
    """Return text that may stand in a C comment or string, whatever a model's author called things."""
    return re.sub(r"[^A-Za-z0-9_.:;,/ ()\[\]-]", "_", text)[:200]


def _condition(table: KernelTable) -> str:
    """Return the lines that refuse to compile for a CPU without the kernels of a table."""
    if not table.condition:
        return ""
    error = f"made for kernels called {table.isa}: compile for a CPU that has them"
    return f'\n#if !({table.condition})\n#error "{error}"\n#endif\n'


def _kernels(plan: Plan, prefix: str, table: KernelTable) -> str:
    """Return the table of the kernels that the plan calls, all others being NULL."""
    used = {name: table.functions[name] for name in called_kernels(plan, table.layout)}
    declared = "".join(f"eq_{name}_fn {function};\n" for name, function in used.items())
    members = "".join(f"    .{name} = {function},\n" for name, function in used.items())
    return (
        f"\n{declared}\nstatic const eq_kernels {prefix}_kernels = {{\n"
        f'    .isa = "{table.isa}",\n    .layout = {table.layout},\n{members}}};\n'
    )


def _check_size(plan: Plan) -> None:
    if len(plan.values) > 0xFFFF or plan.arena_bytes >= _CONSTANT_BIT:
        raise UnsupportedError(
            f"{len(plan.values)} tensors in {plan.arena_bytes} bytes; C source holds 65535 in 2147483647"
        )


def _params(step: Step, name: str, pool: ConstantPool) -> str:
    """Return the definition of a step's parameter struct, constants placed in the pool."""
    fields = []
    for field, count, dtype in step_fields(type(step)):
        value = getattr(step, field)
        if dtype is not None:
            offset, size = pool.add(value)
            fields.append(f".{field} = {{{offset}, {size}}}")
        elif count > 1:
            fields.append(f".{field} = {{{', '.join(_int32(item) for item in value)}}}")
        else:
            fields.append(f".{field} = {_int32(value)}")
    body = "".join(f"    {field},\n" for field in fields)
    return f"static const eq_{step.name}_params {name} = {{\n{body}}};"


def _int32(value: int) -> str:
    return "INT32_MIN" if value == -(1 << 31) else str(int(value))


def _words(data: bytes | bytearray) -> list[int]:
    padded = bytes(data) + bytes(-len(data) % ALIGNMENT or (ALIGNMENT if not data else 0))
    return [int(word) for word in np.frombuffer(padded, "<u4")]


def _array(items: Iterable[str]) -> str:
    """Return initializers, some to a line."""
    text = list(items)
    return "".join(f"    {', '.join(text[start : start + 12])},\n" for start in range(0, len(text), 12))


def _accessors(plan: Plan, prefix: str) -> list[tuple[str, PlanPort, bool]]:
    """List the declaration of the function that returns each input's or output's memory, with its port."""
    found = []
    for kind, ports, qualifier in (("input", plan.inputs, ""), ("output", plan.outputs, "const ")):
        for index, port in enumerate(ports):
            c_type = _c_type(plan, port)
            found.append((f"{qualifier}{c_type} *{prefix}_{kind}_{index}(void)", port, kind == "input"))
    return found


def _c_type(plan: Plan, port: PlanPort) -> str:
    dtype = plan.values[port.value].dtype
    if dtype not in _C_TYPES:
        raise UnsupportedError(f"{port.name!r} holds {dtype.numpy.name} at run time; emitted C is integers only")
    return _C_TYPES[dtype]


def _pointer(plan: Plan, port: PlanPort, prefix: str, location: int, *, writable: bool) -> str:
    c_type = _c_type(plan, port)
    if location & _CONSTANT_BIT:
        return f"(const {c_type} *)(const void *)((const uint8_t *){prefix}_constants + {location & ~_CONSTANT_BIT})"
    qualifier = "" if writable else "const "
    return f"({qualifier}{c_type} *)({qualifier}void *)({prefix}_arena + {location})"


def used_steps(plan: Plan) -> tuple[str, ...]:
    """Return the names of the kinds of steps in a plan, sorted."""
    steps: tuple[PlannedStep, ...] = plan.steps
    return tuple(sorted({planned.step.name for planned in steps}))


_SOURCE = """\
/* SPDX-License-Identifier: Apache-2.0
 * Generated by edgeq; do not edit. The model {name} as direct calls of its operators. */
#include "{prefix}.h"

#include "edgeq/ops.h"
#include "kernels/kernels.h"

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the constants are stored for little-endian machines"
#endif
_Static_assert(sizeof(int) >= 4, "made for CPUs of at least 32 bits");
{condition}
/* weights, biases, multipliers and tables; spans below are byte offsets and sizes in it */
static const _Alignas(16) uint32_t {prefix}_constants[] = {{
{constants}}};

/* where each tensor lives: the top bit chooses the constants, else the arena */
static const eq_location {prefix}_locations[] = {{
{locations}}};

/* tensors of each step in turn: inputs, then outputs */
static const uint16_t {prefix}_operands[] = {{
{operands}}};

static _Alignas(16) uint8_t {prefix}_arena[{PREFIX}_ARENA_BYTES > 0 ? {PREFIX}_ARENA_BYTES : 1];

{structs}
{kernels}
static inline void {prefix}_bind(eq_step_io *io, uint32_t first_operand, uint32_t n_inputs, uint32_t n_outputs,
                                 uint32_t scratch_offset, uint32_t scratch_bytes) {{
  io->operands = {prefix}_operands + first_operand;
  io->n_inputs = n_inputs;
  io->n_outputs = n_outputs;
  io->scratch = {prefix}_arena + scratch_offset;
  io->scratch_bytes = scratch_bytes;
}}

{pointers}

void {prefix}_run(void) {{
  eq_step_io io = {{
      .constants = (const uint8_t *){prefix}_constants,
      .arena = {prefix}_arena,
      .locations = {prefix}_locations,
      .kernels = {chosen},
      .layout = {layout},
  }};
{calls}}}
"""

_HEADER = """\
/* SPDX-License-Identifier: Apache-2.0
 * Generated by edgeq; do not edit. The model {name}: fill the inputs, run, read the outputs.
 * One inference at a time: inputs, outputs and everything between lie in one static arena. */
#ifndef EDGEQ_MODEL_{PREFIX}_H
#define EDGEQ_MODEL_{PREFIX}_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {{
#endif

#define {PREFIX}_ARENA_BYTES {arena_bytes}

{ports}

/* Memory of each input, to be filled before every run since a run may overwrite it, and of each output, valid after a
 * run until the next. */
{pointers}

/* Run one inference. */
void {prefix}_run(void);

#ifdef __cplusplus
}}
#endif

#endif
"""
