# SPDX-License-Identifier: Apache-2.0
"""What a store of two slots does, call by call."""

from __future__ import annotations

import ctypes
import zlib

import numpy as np
import pytest
from store_sim import Sim, sample, simulator, status_name, with_crc

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
