# SPDX-License-Identifier: Apache-2.0
"""What firmware is made of besides the library: a model as data in one C source, and the linker script of a board.

Everything the source defines has a size known from the plan, so that firmware can be sized before it is compiled.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

from edgeq.board import Board
from edgeq.compile.plan import ALIGNMENT, Plan
from edgeq.emit.kernel_tables import called_kernels, core_table
from edgeq.emit.ways import RARE_DEPTHWISE, WAYS, takes_rare_depthwise, ways_of
from edgeq.errors import UsageError
from edgeq.format import layout
from edgeq.ops.packing import LAYOUT_NAMES, PORTABLE

RECORDS = {  # of an opened model: its member, the section it points to, the type of what lies there
    "locations": "eq_location",
    "tensor_bytes": "uint32_t",
    "steps": "eq_step_record",
    "operands": "uint16_t",
    "ports": "eq_port_record",
    "params": "uint8_t",
    "constants": "uint8_t",
}


def fixed_image(model: bytes) -> bytes:
    """Return what of a model file the board needs: everything before the metadata, which only host tools read.

    The header stays as it is, so the board tells the size and CRC of the whole file.
    """
    return model[: int(layout.HEADER.unpack(model, 0)["metadata_offset"])]


def step_runs(plan: Plan) -> dict[int, str]:
    """Map the code of each kind of step of a plan to its name, in order; the table of them ends with the last."""
    return dict(sorted({planned.step.code: planned.step.name for planned in plan.steps}.items()))


def fixed_ways(plan: Plan) -> dict[str, dict[str, str]]:
    """Map the tables of ways to run convolutions to the members that a plan's steps take, and those to functions."""
    taken = {function for planned in plan.steps for function in ways_of(planned.step, plan.layout)}
    return {
        table: {name: function for name, function in ways.items() if function in taken} for table, ways in WAYS.items()
    }


def rare_depthwise(plan: Plan) -> str | None:
    """Return the function for depthwise layers that DSP kernels are not for, None where a plan has none."""
    return RARE_DEPTHWISE if any(takes_rare_depthwise(planned.step) for planned in plan.steps) else None


def fixed_kernels(plan: Plan, board: Board) -> dict[str, str]:
    """Map the kernels that the plan's steps call to their functions on the board's core.

    Raises UsageError for weights in an order that no kernel of the core reads.
    """
    table = core_table(board)
    if plan.layout not in (PORTABLE, table.layout):
        order = LAYOUT_NAMES[plan.layout]
        raise UsageError(
            f"{plan.name!r} holds its weights in the order {order}, which no kernels of {board.name} read",
            hint="convert it for this board, or without --board",
        )
    return {name: table.functions[name] for name in called_kernels(plan, plan.layout)}


def fixed_model_source(plan: Plan, model: bytes, board: Board) -> str:
    """Return the C source of a model that is part of firmware; ``model`` is the file written from ``plan``."""
    image = fixed_image(model)
    words = struct.unpack(f"<{len(image) // 4}I", image)
    places = layout.HEADER.unpack(model, 0)
    kernels = fixed_kernels(plan, board)
    runs = step_runs(plan)
    ways = {table: _members(functions) for table, functions in fixed_ways(plan).items()}
    pointers = [f"    .{name} = {_at(places[f'{name}_offset'], kind)},\n" for name, kind in RECORDS.items()]
    return _SOURCE.format(
        image="".join(
            f"    {', '.join(f'0x{w:x}' for w in words[at : at + 12])},\n" for at in range(0, len(words), 12)
        ),
        pointers="".join(pointers),
        runs="".join(f"    [{code}] = eq_run_{name},\n" for code, name in runs.items()) or "    NULL,\n",
        declared="".join(f"eq_{name}_fn {function};\n" for name, function in kernels.items()),
        isa=core_table(board).isa,
        layout=LAYOUT_NAMES[core_table(board).layout].upper(),
        conv2d=ways["conv2d"] or "    NULL,\n",
        windows=ways["windows"] or "    NULL,\n",
        rare_depthwise=rare_depthwise(plan) or "NULL",
        kernels=_members(kernels),
        arena_bytes=max(plan.arena_bytes, ALIGNMENT),
        steps=max(len(plan.steps), 1),
    )


def linker_script(board: Board, *, slots: bool = False) -> str:
    """Return the linker script of a board's firmware.

    With ``slots`` it leaves the store's part of flash alone, and all RAM that is left is the arena. The stack lies at
    the start of RAM, so that one that overflows leaves RAM where nothing else lies below it.
    """
    flash, ram, store = board.region("flash"), board.region("ram"), board.store
    flash_end = store.origin if slots and store is not None and flash.origin < store.origin < flash.end else flash.end
    return _SCRIPT.format(
        flash_origin=flash.origin,
        flash_bytes=flash_end - flash.origin,
        ram_origin=ram.origin,
        ram_bytes=ram.bytes,
        stack_bytes=board.stack_bytes,
        arena="    . = ORIGIN(RAM) + LENGTH(RAM);\n" if slots else "    *(.arena)\n    . = ALIGN(16);\n",
    )


def _members(functions: Mapping[str, str]) -> str:
    return "".join(f"    .{name} = {function},\n" for name, function in functions.items())


def _at(offset: int, kind: str) -> str:
    address = f"(const uint8_t *)eq_fixed_image + {offset}"
    return address if kind == "uint8_t" else f"(const {kind} *)(const void *)({address})"


_SOURCE = """\
/* SPDX-License-Identifier: Apache-2.0
 * Generated by edgeq; do not edit. A model that is part of firmware. */
#include "firmware/model.h"
#include "firmware/sections.h"
#include "kernels/kernels.h"
#include "ops/conv2d.h"
#include "runtime/steps.h"

{declared}eq_depthwise_s8_fn eq_depthwise_s8_scalar;
extern eq_depthwise_s8_fn *const eq_depthwise_s8_rare;

const _Alignas(16) uint32_t eq_fixed_image[] = {{
{image}}};

static const eq_model model = {{
    .bytes = (const uint8_t *)eq_fixed_image,
    .header = (const eq_header_record *)(const void *)eq_fixed_image,
{pointers}}};

eq_step_run *const eq_step_runs[] = {{
{runs}}};

const eq_conv2d_table eq_conv2d_ways = {{
{conv2d}}};

const eq_windows_table eq_windows_ways = {{
{windows}}};

eq_depthwise_s8_fn *const eq_depthwise_s8_rare = {rare_depthwise};

static const eq_kernels kernels = {{
    .isa = "{isa}",
    .layout = EQ_LAYOUT_{layout},
{kernels}}};

static EQ_IN_ARENA _Alignas(16) uint8_t arena[{arena_bytes}];

const eq_runner eq_fixed_runner = {{.model = &model, .arena = arena, .kernels = &kernels}};

eq_step_result eq_fixed_results[{steps}];
const uint32_t eq_fixed_result_count = {steps};
"""

_SCRIPT = """\
/* Generated by edgeq; do not edit. */
ENTRY(eq_reset)
MEMORY {{
  FLASH (rx) : ORIGIN = 0x{flash_origin:08x}, LENGTH = 0x{flash_bytes:x}
  RAM (rwx) : ORIGIN = 0x{ram_origin:08x}, LENGTH = 0x{ram_bytes:x}
}}
SECTIONS {{
  .boot : {{ KEEP(*(.boot)) }} > FLASH
  .text : {{
    KEEP(*(.vectors))
    KEEP(*(.image_definition))
    *(.text .text.*)
    . = ALIGN(16);
  }} > FLASH
  .rodata : {{
    *(.rodata .rodata.*)
    . = ALIGN(16);
  }} > FLASH
  .stack (NOLOAD) : {{
    eq_stack_start = .;
    . += {stack_bytes};
    . = ALIGN(16);
    eq_stack_end = .;
  }} > RAM
  .data : {{
    eq_data_start = .;
    *(.data .data.* .fast .fast.*)
    . = ALIGN(16);
    eq_data_end = .;
  }} > RAM AT > FLASH
  eq_data_load = LOADADDR(.data);
  .bss (NOLOAD) : {{
    eq_bss_start = .;
    *(.bss .bss.* COMMON)
    . = ALIGN(16);
    eq_bss_end = .;
  }} > RAM
  .noinit (NOLOAD) : {{
    *(.noinit)
    . = ALIGN(16);
  }} > RAM
  .arena (NOLOAD) : {{
    eq_arena_start = .;
{arena}    eq_arena_end = .;
  }} > RAM
  /DISCARD/ : {{
    *(.ARM.exidx* .ARM.extab* .eh_frame* .comment .note*)
  }}
}}
"""
