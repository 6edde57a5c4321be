# SPDX-License-Identifier: Apache-2.0
"""What a connected device is and holds, and which key is which: tables and JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from edgeq.device.link.protocol import NO_SLOT, Features, Flags, Hello, Slot
from edgeq.format.slot import key_id
from edgeq.report.table import count, facts, size, table


def slots_report(
    hello: Hello, slots: Sequence[Slot] | None, *, port: str, fault: Sequence[str] | None = None
) -> dict[str, Any]:
    """Return the edgeq.slots/1 report.

    ``slots`` is None for firmware without any, ``fault`` for a device that stores none.
    """
    model = {"bytes": hello.model_bytes, "crc": hello.model_crc, "version": hello.model_version}
    return {
        "schema": "edgeq.slots/1",
        "port": port,
        "board": hello.board,
        "isa": hello.isa,
        "firmware_version": ".".join(map(str, hello.firmware_version)),
        "model": model if hello.flags & Flags.MODEL_READY else None,
        "fixed_model": bool(hello.features & Features.FIXED_MODEL),
        "on_trial": bool(hello.flags & Flags.ON_TRIAL),
        "active_slot": None if hello.active_slot == NO_SLOT else hello.active_slot,
        "signatures_required": bool(hello.features & Features.SIGNED),
        "slot_bytes": hello.slot_bytes,
        "arena_bytes": hello.arena_bytes,
        "restarted_by_watchdog": bool(hello.flags & Flags.WATCHDOG_RESET),
        "fault": None if fault is None else list(fault),
        "slots": None if slots is None else [_slot(slot) for slot in slots],
    }


def _slot(slot: Slot) -> dict[str, Any]:
    return {**vars(slot), "state": slot.state.name.lower()}


def show_slots(console: Console, report: Mapping[str, Any]) -> None:
    """Print what a device is, the model that it runs and what its slots hold."""
    model = report["model"]
    runs = "none: nothing can be run" if model is None else f"{size(model['bytes'])}, payload CRC {model['crc']:08x}"
    kernels = f" ({report['isa']} kernels)" if report["isa"] else ""  # which are a model's; without one none are used
    where = "part of the firmware" if report["fixed_model"] else "in slots"
    rows = [
        ("device", f"{report['board']}{kernels} at {report['port']}"),
        ("firmware", report["firmware_version"]),
        ("model", f"{runs}{', on trial' if report['on_trial'] else ''}"),
        ("models are", where + (", signed ones only" if report["signatures_required"] else "")),
        ("arena", size(report["arena_bytes"])),
    ]
    if report["restarted_by_watchdog"]:
        rows.append(("note", "the watchdog restarted it: something took too long"))
    rows += [("fault", line) for line in report["fault"] or ()]
    facts(console, rows)
    if report["slots"] is None:
        return
    console.print()
    table(
        console,
        (">slot", "", "holds", ">version", ">bytes", "file CRC", ">arena", ">sequence", "signed"),
        (
            (
                index,
                "active" if slot["active"] else "",
                _state(slot),
                *(("",) * 6 if slot["state"] == "empty" else _contents(slot)),
            )
            for index, slot in enumerate(report["slots"])
        ),
    )


def _state(slot: Mapping[str, Any]) -> str:
    if slot["state"] != "valid":
        return {"empty": "nothing", "damaged": "a damaged model", "revoked": "a model that was given up"}[slot["state"]]
    return "a model" if slot["confirmed"] else f"a model on trial, {slot['trials_left']} starts left"


def _contents(slot: Mapping[str, Any]) -> tuple[str, ...]:
    numbers = (count(slot["model_version"]), count(slot["payload_bytes"]), f"{slot['payload_crc']:08x}")
    return (*numbers, count(slot["arena_bytes"]), str(slot["sequence"]), "yes" if slot["signed"] else "no")


def key_report(public: bytes, *, written: Sequence[str] = ()) -> dict[str, Any]:
    """Return the edgeq.keys/1 report: the public key, its id in update headers, and the files that were written."""
    names = {"key_id": key_id(public).hex(), "public_key": public.hex()}
    return {"schema": "edgeq.keys/1", **names, "files": list(written)}


def show_key(console: Console, report: Mapping[str, Any]) -> None:
    """Print which key it is."""
    kinds = ("private key", "public key file")
    notes = ("keep it secret: it signs models for your devices", "build firmware with it")
    rows = [(kind, f"{file} ({note})") for kind, file, note in zip(kinds, report["files"], notes, strict=False)]
    facts(console, [*rows, ("key id", report["key_id"]), ("public key", report["public_key"])])
