# SPDX-License-Identifier: Apache-2.0
"""What a store of two slots does, call by call."""

from __future__ import annotations

import ctypes
import struct
import zlib

import numpy as np
import pytest
from loader import header_offsets, mended
from store_sim import BOARD_CLASS, Sim, Update, changed_header, sample, simulator, status_name, with_crc

from edgeq.device.update import update_header
from edgeq.format import slot

EMPTY, VALID, DAMAGED, REVOKED = range(4)
A, B, C = sample(1), sample(2, n_bytes=544), sample(3, n_bytes=1600)


def _states(sim: Sim) -> list[int]:
    return [sim.slot(i).state for i in range(2)]


def test_a_device_without_a_model_takes_one() -> None:
    sim = Sim()
    assert sim.restart() == -1
    assert sim.running() is None
    assert _states(sim) == [EMPTY, EMPTY]
    for call in (sim.confirm, sim.revert, sim.commit):
        assert call() == "EQ_ERR_NO_UPDATE"
    assert sim.write(0, b"") == ("EQ_ERR_NO_UPDATE", 0)
    assert sim.crcs(0, 4) == []
    sim.push(A)
    assert _states(sim) == [VALID, EMPTY]


def test_updates_take_turns_between_the_slots() -> None:
    sim = Sim()
    for turn in range(6):
        sim.push(sample(turn))
        assert sim.restart() == turn % 2
        assert sim.slot(turn % 2).confirmed


def test_a_committed_model_runs_after_the_next_start_and_on_trial() -> None:
    sim = Sim()
    sim.push(A)
    assert sim.restart() == 0
    assert sim.send(B) == "EQ_OK"
    assert sim.running() == A.model
    assert sim.slot(1).trials_left == 3
    assert sim.boot() == 1
    assert sim.on_trial()
    assert sim.slot(1).trials_left == 2
    assert sim.running() == B.model


def test_three_starts_without_confirmation_bring_the_old_model_back() -> None:
    sim = Sim()
    sim.push(A)
    assert sim.send(B) == "EQ_OK"
    assert [sim.restart() for _ in range(5)] == [1, 1, 1, 0, 0]
    assert _states(sim) == [VALID, REVOKED]


def test_a_first_model_that_is_never_confirmed_leaves_none() -> None:
    sim = Sim()
    assert sim.send(A) == "EQ_OK"
    assert [sim.restart() for _ in range(5)] == [0, 0, 0, -1, -1]


def test_a_reverted_model_never_runs_again() -> None:
    sim = Sim()
    sim.push(A)
    sim.push(B)
    assert sim.revert() == "EQ_OK"
    assert sim.revert() == "EQ_OK"
    assert sim.boot() == 0
    assert sim.running() == A.model
    assert _states(sim) == [VALID, REVOKED]
    assert sim.revert() == "EQ_OK"
    assert sim.restart() == -1


def test_what_a_trial_would_fall_back_to_is_not_overwritten() -> None:
    sim = Sim()
    sim.push(A)
    assert sim.send(B) == "EQ_OK"
    assert sim.restart() == 1
    assert sim.begin(C.header) == "EQ_ERR_TRIAL"
    assert sim.confirm() == "EQ_OK"
    assert sim.begin(C.header) == "EQ_OK"
    assert _states(sim) == [EMPTY, VALID]


def test_what_a_reverted_model_falls_back_to_is_not_overwritten() -> None:
    sim = Sim()
    sim.push(A)
    sim.push(B)
    assert sim.revert() == "EQ_OK"
    assert sim.begin(C.header) == "EQ_ERR_TRIAL"
    assert sim.boot() == 0
    assert sim.begin(C.header) == "EQ_OK"


def test_the_active_model_asks_for_no_bytes() -> None:
    sim = Sim()
    sim.push(B)
    assert sim.begin(B.header) == "EQ_OK"
    assert sim.write(0, B.model[:64]) == ("EQ_OK", len(B.model))
    assert sim.crcs(0, 9) == [zlib.crc32(B.model[i : i + 256]) for i in range(0, len(B.model), 256)]
    assert sim.commit() == "EQ_OK"
    assert sim.restart() == 0
    assert sim.slot(0).confirmed


def test_a_repeated_begin_goes_on_and_one_of_another_model_starts_anew() -> None:
    sim = Sim()
    assert sim.begin(A.header) == "EQ_OK"
    assert sim.write(0, A.model[:128]) == ("EQ_OK", 128)
    assert sim.begin(A.header) == "EQ_OK"
    assert sim.write(128, A.model[128:192]) == ("EQ_OK", 192)
    assert sim.write(0, b"") == ("EQ_OK", 0)
    assert sim.write(0, A.model[:64]) == ("EQ_OK", 64)
    assert sim.begin(B.header) == "EQ_OK"
    assert sim.write(64, B.model[64:128]) == ("EQ_OK", 0)


def test_a_start_ends_an_update() -> None:
    sim = Sim()
    assert sim.begin(A.header) == "EQ_OK"
    assert sim.crcs(0, 9) != []
    assert sim.boot() == -1
    assert sim.crcs(0, 9) == []


def test_bytes_out_of_order_change_nothing_and_name_the_offset() -> None:
    sim = Sim()
    assert sim.begin(A.header) == "EQ_OK"
    assert sim.write(0, A.model[:128]) == ("EQ_OK", 128)
    before = sim.cells.copy()
    for offset in (0, 64, 192, 256):
        assert sim.write(offset, A.model[offset : offset + 64]) == ("EQ_OK", 128)
    np.testing.assert_array_equal(sim.cells, before)
    assert sim.write(128, A.model[128:]) == ("EQ_OK", len(A.model))
    assert sim.commit() == "EQ_OK"
    assert sim.commit() == "EQ_OK"


@pytest.mark.parametrize("offset", [len(A.model) + 4, 2**32 - 4])
def test_bytes_outside_the_model_are_refused(offset: int) -> None:
    sim = Sim()
    assert sim.begin(A.header) == "EQ_OK"
    assert sim.write(offset, bytes(4)) == ("EQ_ERR_SLOT", 0)
    assert sim.write(0, A.model + bytes(1)) == ("EQ_ERR_SLOT", 0)


def test_half_a_write_unit_is_taken_at_the_end_alone() -> None:
    sim = Sim(unit=32)
    odd = sample(4, n_bytes=496)
    assert sim.begin(odd.header) == "EQ_OK"
    assert sim.write(0, odd.model[:48]) == ("EQ_ERR_ALIGNMENT", 0)
    assert sim.write(0, odd.model) == ("EQ_OK", 496)
    assert sim.commit() == "EQ_OK"
    assert sim.restart() == 0


def test_only_pages_that_differ_need_to_be_sent_after_a_reset() -> None:
    sim = Sim()
    assert sim.begin(C.header) == "EQ_OK"
    assert sim.write(0, C.model[:960])[0] == "EQ_OK"
    sim.lib.sim_reset()
    assert sim.begin(C.header) == "EQ_OK"
    wanted = [zlib.crc32(C.model[i : i + 256]) for i in range(0, len(C.model), 256)]
    found = sim.crcs(0, 100)
    assert len(found) == len(wanted) == 7
    assert [i for i in range(7) if found[i] != wanted[i]] == [3, 4, 5, 6]
    assert sim.crcs(2, 2) == found[2:4]
    assert sim.commit() == "EQ_ERR_INCOMPLETE"
    assert sim.write(700, b"") == ("EQ_OK", 0)  # within a page: nothing to begin at
    assert sim.write(768, b"") == ("EQ_OK", 768)
    assert sim.write(768, C.model[768:]) == ("EQ_OK", len(C.model))
    assert sim.commit() == "EQ_OK"
    assert sim.restart() == 0
    assert sim.running() == C.model


def test_wrong_bytes_are_not_committed_and_can_be_mended() -> None:
    sim = Sim()
    sim.push(A)
    wrong = bytearray(C.model)
    wrong[300] ^= 1
    assert sim.begin(C.header) == "EQ_OK"
    assert sim.write(0, bytes(wrong)) == ("EQ_OK", len(C.model))
    assert sim.commit() == "EQ_ERR_PAYLOAD"
    assert sim.commit() == "EQ_ERR_INCOMPLETE"
    assert sim.write(256, b"") == ("EQ_OK", 256)
    assert sim.write(256, C.model[256:512]) == ("EQ_OK", 512)
    assert sim.write(len(C.model), b"") == ("EQ_OK", len(C.model))
    assert sim.commit() == "EQ_OK"
    assert sim.restart() == 1


def test_cells_that_cannot_be_programmed_are_noticed_and_their_page_begins_anew() -> None:
    sim = Sim()
    assert sim.begin(C.header) == "EQ_OK"
    assert sim.write(0, C.model[:256]) == ("EQ_OK", 256)
    cell = sim.payload_offset + 256 + 100
    value = C.model[256 + 100]
    assert sim.write(256, C.model[256:320]) == ("EQ_OK", 320)
    sim.lib.sim_unsteady(cell, 1)
    assert sim.write(320, C.model[320:]) == ("EQ_ERR_FLASH", 256)
    sim.lib.sim_unsteady(2**32 - 1, 1)
    assert sim.write(256, C.model[256:]) == ("EQ_OK", len(C.model))
    assert sim.cells[cell] == value
    assert sim.commit() == "EQ_OK"


@pytest.mark.parametrize("every", [2, 3])
def test_a_record_that_reads_unsteadily_gives_way_to_the_other_slot(every: int) -> None:
    sim = Sim()
    sim.push(A)
    sim.push(B)
    assert sim.restart() == 1
    sim.lib.sim_unsteady(sim.slot_bytes + slot.offset_of("key_id"), every)
    assert sim.restart() == 0


def test_a_record_that_does_not_read_back_is_erased() -> None:
    sim = Sim()
    sim.push(A)
    assert sim.begin(B.header) == "EQ_OK"
    assert sim.write(0, B.model) == ("EQ_OK", len(B.model))
    cell = sim.slot_bytes + slot.offset_of("reserved")
    sim.lib.sim_unsteady(cell, 1)
    assert sim.commit() == "EQ_ERR_FLASH"
    sim.lib.sim_unsteady(2**32 - 1, 1)
    assert np.all(sim.cells[sim.slot_bytes :][:256] == 0xFF)
    assert sim.restart() == 0


def test_a_header_area_that_is_not_erased_is_noticed() -> None:
    sim = Sim()
    sim.push(A)
    sim.lib.sim_unsteady(sim.slot_bytes + 7, 1)
    assert sim.begin(B.header) == "EQ_ERR_FLASH"
    assert sim.write(0, B.model[:64]) == ("EQ_ERR_NO_UPDATE", 0)


def test_what_the_driver_calls_a_failure_is_one_even_if_the_cells_look_right() -> None:
    sim = Sim()
    sim.lib.sim_complain(True)
    assert sim.begin(A.header) == "EQ_ERR_FLASH"
    sim.lib.sim_complain(False)
    assert sim.begin(A.header) == "EQ_OK"
    assert sim.write(0, A.model[:64]) == ("EQ_OK", 64)
    sim.lib.sim_complain(True)
    assert sim.write(64, A.model[64:128]) == ("EQ_ERR_FLASH", 0)
    sim.lib.sim_complain(False)
    assert sim.send(A) == "EQ_OK"
    assert sim.restart() == 0
    sim.lib.sim_complain(True)
    assert sim.confirm() == "EQ_ERR_FLASH"


def test_a_trial_that_cannot_be_counted_does_not_start() -> None:
    sim = Sim()
    assert sim.send(A) == "EQ_OK"
    sim.lib.sim_complain(True)
    assert sim.restart() == -1


def test_a_damaged_model_shows_and_the_other_one_runs() -> None:
    sim = Sim()
    sim.push(A)
    sim.push(B)
    sim.cells[sim.slot_bytes + sim.payload_offset + 40] ^= 4
    assert sim.slot(1).state == DAMAGED
    assert sim.restart() == 0


def test_a_damaged_record_shows_and_tells_nothing() -> None:
    sim = Sim()
    sim.push(A)
    sim.cells[slot.offset_of("payload_bytes")] ^= 4
    info = sim.slot(0)
    assert (info.state, any(info.record), info.confirmed) == (DAMAGED, False, False)
    other = bytearray(A.header)
    other[0] ^= 1
    sim.cells[:256] = list(with_crc(bytes(other)))  # some other record, whole
    info = sim.slot(0)
    assert (info.state, any(info.record)) == (EMPTY, False)


def test_a_record_that_reads_unsteadily_does_not_start_even_if_no_other_model_is_there() -> None:
    sim = Sim()
    sim.push(A)
    sim.push(B)
    sim.cells[sim.payload_offset] ^= 1
    sim.lib.sim_unsteady(sim.slot_bytes + slot.offset_of("key_id"), 2)
    assert sim.restart() == -1


def test_an_active_model_whose_record_decayed_is_sent_again() -> None:
    sim = Sim()
    sim.push(A)
    assert sim.restart() == 0
    sim.cells[slot.offset_of("signature")] ^= 1
    assert sim.send(A) == "EQ_OK"
    assert sim.restart() == 1


def test_without_a_model_there_is_no_trial() -> None:
    sim = Sim()
    assert sim.restart() == -1
    assert not sim.on_trial()


def test_pages_of_any_size_hold_the_boot_words() -> None:
    sim = Sim(page=288, unit=1)
    for turn in range(4):
        sim.push(sample(turn))
    assert sim.restart() == 1
    assert sim.violation is None


class _Flash(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("sizes", ctypes.c_uint32 * 3), ("functions", ctypes.c_void_p * 2))


def test_flash_that_is_not_aligned_is_refused() -> None:
    sim = Sim()
    lib = simulator()
    store = ctypes.create_string_buffer(512)
    for shift, status in ((0, "EQ_OK"), (8, "EQ_ERR_FLASH")):
        flash = _Flash(lib.sim_cells() + shift, (ctypes.c_uint32 * 3)(1024, 256, 4))
        assert status_name(lib.eq_store_init(store, ctypes.byref(flash), ctypes.byref(sim._rules))) == status


def test_sequences_wrap_around() -> None:
    sim = Sim()
    sim.push(A)
    record = with_crc(sim.cells[: slot.offset_of("sequence")].tobytes() + b"\xff\xff\xff\xff" + bytes(64 + 4))
    sim.cells[: len(record)] = np.frombuffer(record, np.uint8)
    assert sim.restart() == 0
    sim.push(B)
    assert sim.restart() == 1
    found = slot.SLOT.unpack(sim.cells[sim.slot_bytes :].tobytes(), 0)
    assert found["sequence"] == 0
    sim.push(C)
    assert sim.restart() == 0


def test_one_fallen_bit_confirms_and_revokes_nothing_but_costs_a_trial() -> None:
    sim = Sim()
    sim.push(A)
    assert sim.send(B) == "EQ_OK"
    words = sim.slot_bytes + 256
    for word in range(5):
        sim.cells[words + 16 * word + 1] ^= 0x20
    info = sim.slot(1)
    assert (info.state, info.confirmed, info.trials_left) == (REVOKED, False, 0)
    for word in range(1, 3):
        sim.cells[words + 16 * word + 1] ^= 0x20
    info = sim.slot(1)
    assert (info.state, info.confirmed, info.trials_left) == (VALID, False, 2)
    assert [sim.restart() for _ in range(3)] == [1, 1, 0]


def test_a_boot_word_with_a_fallen_bit_is_not_programmed_again() -> None:
    sim = Sim()
    assert sim.send(A) == "EQ_OK"
    assert sim.restart() == 0
    for word in (3, 4):
        sim.cells[256 + 16 * word] ^= 1
    assert sim.confirm() == "EQ_ERR_FLASH"
    assert sim.revert() == "EQ_ERR_FLASH"
    assert sim.violation is None


def test_a_boot_word_of_which_one_bit_was_burnt_before_a_cut_is_finished() -> None:
    sim = Sim(unit=1)
    assert sim.send(A) == "EQ_OK"
    assert sim.restart() == 0
    for word, act in ((3, sim.confirm), (4, sim.revert)):
        bytes_of_word = slice(256 + 16 * word, 256 + 16 * word + 4)
        sim.cells[bytes_of_word.start] ^= 1
        assert act() == "EQ_OK"
        assert list(sim.cells[bytes_of_word]) == [0xFE, 0, 0, 0]
    assert sim.violation is None


# What a header may not say. The device has board class 16, 64 KiB of arena and allows 2^40 multiply-accumulates.
FIELD_VALUES = [0, 1, 2**31 - 1, 2**31, 2**32 - 1]
REFUSED = {
    "magic": ("EQ_ERR_MAGIC", [slot.MAGIC ^ 1, *FIELD_VALUES]),
    "header_version": ("EQ_ERR_VERSION", [0, 2, 0x7FFF, 0xFFFF]),
    "flags": ("EQ_ERR_VERSION", [2, 3, 0x8000, 0xFFFF]),
    "payload_bytes": ("EQ_ERR_SLOT", [0, 2049, 2**31 - 1, 2**31, 2**32 - 1]),
    "kernel_abi": ("EQ_ERR_VERSION", [0, 2, *FIELD_VALUES[2:]]),
    "board_class": ("EQ_ERR_BOARD", [1, 15, 17, *FIELD_VALUES[2:]]),
    "arena_bytes": ("EQ_ERR_ARENA", [(1 << 16) + 1, *FIELD_VALUES[2:]]),
    "work_budget": ("EQ_ERR_WORK", [(1 << 40) + 1, 2**63, 2**64 - 1]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_header_that_cannot_be_meant_is_refused_before_anything_is_erased(name: str) -> None:
    sim = Sim()
    sim.push(A)
    sim.push(B)
    before = sim.cells.copy()
    status, values = REFUSED[name]
    for value in values:
        assert sim.begin(changed_header(C.header, **{name: value})) == status, value
    np.testing.assert_array_equal(sim.cells, before)


# What a header may say, but the model file says otherwise.
CONTRADICTIONS = {
    "payload_crc": "EQ_ERR_PAYLOAD",
    "board_class": "EQ_ERR_HEADER",
    "arena_bytes": "EQ_ERR_HEADER",
    "model_version": "EQ_ERR_HEADER",
    "work_budget": "EQ_ERR_HEADER",
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
@pytest.mark.parametrize("value", [2, 5, 7])
def test_a_header_that_contradicts_its_model_is_not_committed(name: str, value: int) -> None:
    sim = Sim(max_work=2**64 - 1)
    update = sample(5, version=4)
    header = changed_header(update.header, **{name: 0 if name == "board_class" else value})
    assert sim.send(Update(update.model, header)) == CONTRADICTIONS[name]
    assert sim.restart() == -1


@pytest.mark.parametrize("payload_bytes", [1, 176, len(A.model) - 1, len(A.model) + 1])
def test_a_size_that_is_not_the_models_is_not_committed(payload_bytes: int) -> None:
    sim = Sim()
    model = (A.model + bytes(16))[:payload_bytes]
    header = changed_header(A.header, payload_bytes=payload_bytes, payload_crc=zlib.crc32(model))
    assert sim.send(Update(model, header)) in ("EQ_ERR_TRUNCATED", "EQ_ERR_MAGIC")
    assert sim.restart() == -1


def test_reserved_bytes_must_be_zero() -> None:
    sim = Sim()
    for i in range(slot.RESERVED_BYTES):
        reserved = bytearray(slot.RESERVED_BYTES)
        reserved[i] = 1
        assert sim.begin(changed_header(A.header, reserved=bytes(reserved))) == "EQ_ERR_HEADER"


def test_every_flipped_bit_of_a_header_is_refused() -> None:
    sim = Sim()
    for bit in range(8 * len(A.header)):
        header = bytearray(A.header)
        header[bit // 8] ^= 1 << bit % 8
        assert sim.begin(bytes(header)) in ("EQ_ERR_MAGIC", "EQ_ERR_HEADER")


def test_every_flipped_bit_of_a_model_is_refused() -> None:
    sim = Sim()
    for bit in range(0, 8 * len(A.model)):
        model = bytearray(A.model)
        model[bit // 8] ^= 1 << bit % 8
        assert sim.send(Update(bytes(model), A.header), chunk=256) == "EQ_ERR_PAYLOAD"
        assert sim.write(0, b"") == ("EQ_OK", 0)


@pytest.mark.parametrize(("name", "status"), [("step_count", "EQ_ERR_SECTION"), ("layout", "EQ_ERR_LAYOUT")])
def test_a_model_that_the_loader_refuses_is_not_committed(name: str, status: str) -> None:
    model = bytearray(A.model)
    struct.pack_into("<I", model, header_offsets()[name][0], 4 if name == "layout" else 7)
    broken = mended(model)
    sim = Sim()
    assert sim.send(Update(broken, update_header(broken))) == status
    assert sim.restart() == -1


def test_every_model_class_but_another_boards_is_taken() -> None:
    for board_class in (0, BOARD_CLASS):
        assert Sim().send(sample(6, board_class=board_class)) == "EQ_OK"
    assert Sim().send(sample(6, board_class=BOARD_CLASS + 1)) == "EQ_ERR_BOARD"


def test_versions_below_what_a_confirmed_model_asks_for_are_refused() -> None:
    sim = Sim()
    sim.push(sample(7, version=3))
    newer = sample(8, version=5, min_version=4)
    assert sim.send(newer) == "EQ_OK"
    assert sim.restart() == 1
    assert sim.revert() == "EQ_OK"  # not confirmed yet: the old one may come back
    assert sim.restart() == 0
    sim.push(newer)
    assert sim.begin(sample(9, version=3).header) == "EQ_ERR_DOWNGRADE"
    assert sim.begin(changed_header(sample(9, version=3).header, min_version=4)) == "EQ_ERR_DOWNGRADE"
    assert sim.begin(sample(9, version=4, min_version=3).header) == "EQ_ERR_DOWNGRADE"  # would allow what was refused
    assert sim.begin(sample(9, version=4, min_version=4).header) == "EQ_OK"
    sim.push(sample(9, version=4, min_version=4))
    assert sim.restart() == 0


def test_an_older_version_does_not_come_back_when_the_newer_one_is_given_up() -> None:
    sim = Sim()
    sim.push(sample(7, version=3))
    sim.push(sample(8, version=5, min_version=4))
    assert sim.revert() == "EQ_OK"
    assert sim.restart() == -1
    assert sim.begin(sample(7, version=3).header) == "EQ_ERR_DOWNGRADE"


def test_rules_that_changed_since_are_applied_at_the_next_start() -> None:
    sim = Sim()
    sim.push(A)
    cells = sim.cells.copy()
    smaller = Sim(arena=1)
    smaller.cells[:] = cells
    assert smaller.restart() == -1
    assert smaller.slot(0).state == DAMAGED


def test_one_slot_loses_its_model_when_an_update_begins() -> None:
    sim = Sim(slots=1)
    sim.push(A)
    assert sim.restart() == 0
    assert sim.begin(A.header) == "EQ_OK"
    assert sim.commit() == "EQ_OK"
    assert sim.begin(B.header) == "EQ_OK"
    assert sim.confirm() == "EQ_ERR_NO_UPDATE"
    assert sim.write(0, B.model) == ("EQ_OK", len(B.model))
    assert sim.commit() == "EQ_OK"
    assert sim.restart() == 0
    assert sim.running() == B.model
    assert sim.on_trial()
    assert sim.begin(A.header) == "EQ_OK"
    assert sim.restart() == -1


def _geometry(**changes: int) -> str:
    sim = Sim()
    values = {"page": 256, "unit": 4, "slot": 1024, "slots": 2, **changes}
    sim._rules.slots = values["slots"]
    lib = simulator()
    return status_name(lib.sim_open(values["page"], values["unit"], values["slot"], ctypes.byref(sim._rules)))


@pytest.mark.parametrize(
    "changes",
    [
        {"unit": 0}, {"unit": 3}, {"unit": 64}, {"page": 128}, {"page": 272, "slot": 1088}, {"slot": 1000},
        {"slot": 512}, {"slots": 0}, {"slots": 3},
    ],
    ids=str,
)  # fmt: skip
def test_flash_that_cannot_hold_slots_is_refused(changes: dict[str, int]) -> None:
    assert _geometry() == "EQ_OK"
    assert _geometry(**changes) == "EQ_ERR_FLASH"


def test_a_key_needs_a_build_that_checks_signatures() -> None:
    sim = Sim()
    sim._rules.key = bytes(32)
    assert status_name(simulator().sim_open(256, 4, 1024, ctypes.byref(sim._rules))) == "EQ_ERR_SIGNATURE"


def test_the_c_record_is_the_python_record() -> None:
    sim = Sim()
    sim.push(A)
    found = slot.SLOT.unpack(bytes(sim.slot(0).record), 0)
    expected = slot.SLOT.unpack(A.header, 0)
    assert {name for name in found if found[name] != expected[name]} == {"sequence", "header_crc"}
    assert found["sequence"] == 1
