# SPDX-License-Identifier: Apache-2.0
"""Model the cycles of counted aarch64 code with llvm-mca: each block as a loop in steady state, times its runs.

The model knows a core's pipelines and latencies. It leaves out caches, branch misses and DRAM, so its figures are a
lower estimate that compares kernels on one core; they are never shown as time.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from edgeq.errors import ToolchainError
from edgeq.paths import cache_dir, write_bytes

OLDEST, NEWEST = 19, 40  # major versions of LLVM that are looked for
PACKAGE = "llvm-19"
ITERATIONS = 50  # runs of a block that one simulation makes
BLOCKS_PER_CALL = 256
_FLAGS = (
    "-mtriple=aarch64",
    "-mattr=+dotprod,+i8mm,+fullfp16,+lse,+rdm,+crc,+bf16",
    f"-iterations={ITERATIONS}",
    "-instruction-info=0",
    "-resource-pressure=0",
    "-skip-unsupported-instructions=any",
)
# What the scheduler knows nothing of; a step executes next to none of it.
_SYSTEM = re.compile(r"^(mrs|msr|svc|dmb|isb|hint|sys|dc|ic)\b.*")
_ENCODED = re.compile(r"^\s*(.*?)\s*// encoding: \[(0x\w\w),(0x\w\w),(0x\w\w),(0x\w\w)\]", re.MULTILINE)
_RESULT = re.compile(r"Code Region - b(\d+)\n|^Total Cycles:\s+(\d+)", re.MULTILINE)


@dataclass(frozen=True)
class Core:
    """How a core is modelled; ``load_bytes_per_cycle`` where LLVM's model lacks the width of the load path."""

    scheduling_model: str
    load_bytes_per_cycle: int | None = None


# By a board's ``cpu``. LLVM gives the Cortex-A76 the model of the A57; its sibling Neoverse N1 has the same pipelines
# and a model of its own. The Cortex-A53 loads 64 bits a cycle, LLVM lets it load 128.
CORES = {
    "cortex-a53": Core("cortex-a53", load_bytes_per_cycle=8),
    "cortex-a72": Core("cortex-a72"),
    "cortex-a76": Core("neoverse-n1"),
}


@dataclass(frozen=True)
class Tools:
    """llvm-mca and llvm-mc of one installation; ``version`` is what they say of themselves."""

    mca: str
    mc: str
    version: str


def find_tools() -> Tools | None:
    """Return the newest llvm-mca that is installed with its llvm-mc, None when there is none since LLVM 19."""
    for suffix in (*(f"-{major}" for major in range(NEWEST, OLDEST - 1, -1)), ""):
        mca, mc = shutil.which(f"llvm-mca{suffix}"), shutil.which(f"llvm-mc{suffix}")
        if mca is None or mc is None:
            continue
        found = re.search(r"LLVM version (\d+)[\w.+~-]*", _call([mca, "--version"], ""))
        if found is not None and int(found[1]) >= OLDEST:
            return Tools(mca, mc, found[0])
    return None


def modelled_cycles(runs: Sequence[Mapping[bytes, int]], core: Core, tools: Tools) -> list[float]:
    """Return the cycles of each collection of blocks (machine code by how often it ran).

    Raises ToolchainError when llvm-mca fails.
    """
    costs = block_cycles({code for blocks in runs for code in blocks}, core, tools)
    return [sum(times * costs[code] for code, times in blocks.items()) for blocks in runs]


def block_cycles(blocks: Iterable[bytes], core: Core, tools: Tools) -> dict[bytes, float]:
    """Return the cycles of one run of each block; what was simulated before comes from the cache."""
    key = hashlib.sha256(repr((tools.version, core.scheduling_model, _FLAGS, _SYSTEM.pattern)).encode()).hexdigest()
    path = cache_dir() / f"cycles-{core.scheduling_model}-{key[:16]}.json"
    try:
        cached: dict[str, float] = json.loads(path.read_bytes())
    except (OSError, ValueError):
        cached = {}
    names = {code: hashlib.sha256(code).hexdigest()[:32] for code in blocks}
    missing = sorted(code for code, name in names.items() if name not in cached)
    for start in range(0, len(missing), BLOCKS_PER_CALL):
        batch = missing[start : start + BLOCKS_PER_CALL]
        cached |= {names[code]: cycles for code, cycles in zip(batch, _simulate(batch, core, tools), strict=True)}
    if missing:
        write_bytes(path, json.dumps(cached).encode())
    return {code: max(cached[name], _load_cycles(code, core)) for code, name in names.items()}


def words_of(code: bytes) -> list[int]:
    """Split machine code into its 32-bit instruction words."""
    return [int.from_bytes(code[at : at + 4], "little") for at in range(0, len(code), 4)]


def loaded_bytes(word: int) -> int:
    """Return the bytes that an aarch64 instruction loads (Arm Architecture Reference Manual, C4.1)."""
    if word >> 25 & 5 != 4:
        return 0
    group, vector, load = word >> 27 & 7, word >> 26 & 1, word >> 22 & 1
    size, opc = word >> 30, word >> 22 & 3
    if group == 5:  # a pair of registers
        return (8 << size if vector else 16 if size & 2 else 8) if load else 0
    if group == 7:  # one register
        if vector:
            return (16 if opc & 2 else 1 << size) if load else 0
        return 1 << size if opc and (size, opc) != (3, 2) else 0  # (3, 2) prefetches
    if group == 3:  # relative to the program counter; size 3 prefetches
        return 4 << size if vector else (4, 8, 4, 0)[size]
    if vector and load:  # LD1 to LD4
        if not word >> 24 & 1:
            registers = {0: 4, 2: 4, 4: 3, 6: 3, 7: 1, 8: 2, 10: 2}.get(word >> 12 & 15, 0)
            return registers * (16 if word >> 30 & 1 else 8)
        scale = word >> 14 & 3
        element = (1, 2, 8 if word >> 10 & 1 else 4, 1 << (word >> 10 & 3))[scale]
        return element * (1 + 2 * (word >> 13 & 1) + (word >> 21 & 1))
    return (1 << size) * load if not vector else 0  # exclusive and acquiring loads


def _load_cycles(code: bytes, core: Core) -> float:
    if core.load_bytes_per_cycle is None:
        return 0
    return sum(map(loaded_bytes, words_of(code))) / core.load_bytes_per_cycle


def _simulate(blocks: Sequence[bytes], core: Core, tools: Tools) -> list[float]:
    text = _disassemble({word for code in blocks for word in words_of(code)}, tools)
    lines: list[str] = []
    for index, code in enumerate(blocks):
        lines += [f"# LLVM-MCA-BEGIN b{index}", *(text[word] for word in words_of(code)), "# LLVM-MCA-END"]
    report = _call([tools.mca, f"-mcpu={core.scheduling_model}", *_FLAGS, "-"], "\n".join(lines))
    cycles: dict[int, float] = {}
    region = -1
    for name, total in _RESULT.findall(report):
        if name:
            region = int(name)
        else:
            cycles[region] = int(total) / ITERATIONS
    # A block without one instruction that the model knows gets no figure.
    return [cycles.get(index, len(code) / 4) for index, code in enumerate(blocks)]


def _disassemble(words: set[int], tools: Tools) -> dict[int, str]:
    """Return assembly for each word; what has none, and system instructions, as nop."""
    ordered = sorted(words)
    given = "\n".join(" ".join(f"0x{byte:02x}" for byte in word.to_bytes(4, "little")) for word in ordered)
    arguments = ["-disassemble", "-triple=aarch64", "-mattr=+all", "-show-encoding"]
    found = {
        int.from_bytes(bytes(int(byte, 16) for byte in encoding), "little"): _SYSTEM.sub("nop", text)
        for text, *encoding in _ENCODED.findall(_call([tools.mc, *arguments], given))
    }
    return {word: found.get(word, "nop") for word in ordered}


def _call(command: Sequence[str], text: str) -> str:
    try:
        done = subprocess.run(command, input=text, capture_output=True, text=True, errors="replace", timeout=600)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ToolchainError(f"{command[0]} fails: {error}") from None
    if done.returncode != 0:
        raise ToolchainError(f"{command[0]} fails (exit code {done.returncode}):\n{done.stderr[-500:]}")
    return done.stdout
