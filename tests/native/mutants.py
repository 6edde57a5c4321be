#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Take each check out of the model loader, one at a time, and see that the fuzzer finds what is missing."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from expensive_models import expensive_plans
from fuzz import COVERAGE, HERE, TARGET, fuzz_program, linked, run_fuzzer, sources
from make_corpus import write_corpus

from edgeq.format.write import write_model
from edgeq.paths import native_dir

MODEL = "runtime/model.c"

# Mutants that no file can tell from the original, each with the reason; the key is the condition left out.
EQUIVALENT = {
    "i == 0": "no kind of step with several outputs works in place; the check is for those to come",
    "j < 32": "no kind of step that works in place has more than 32 inputs; the check is for those to come",
}

_GUARD = re.compile(r"^(\s*)if \((.+)\) (return \w+;|continue;)$")
_CONJUNCTION = re.compile(r"^(\s*)(return|const bool \w+ =) (.+ && .+);$")
_VERDICT = re.compile(r"^(\s*)return .+ \? EQ_OK : \w+;$")
_STAGE = re.compile(r"^(\s*)if \(status == EQ_OK\) status = (\w+)\(.*\);$")
_TAIL = re.compile(r"^(\s*)return (check_\w+)\(.*\);$")


@dataclass(frozen=True)
class Mutant:
    line: int  # from 1
    removed: str  # what was taken out
    text: str  # of the whole file


def mutants(text: str) -> Iterator[Mutant]:
    """Yield the file once for each check, or part of one, left out."""
    lines = text.split("\n")
    for index, line in enumerate(lines):
        for removed, replacement in _changes(line):
            changed = [*lines[:index], replacement, *lines[index + 1 :]]
            yield Mutant(index + 1, removed, "\n".join(changed))


def _changes(line: str) -> Iterator[tuple[str, str]]:
    """Yield (what is left out, the new line) for every part of a line."""
    if found := _GUARD.match(line):
        indent, condition, action = found.groups()
        parts = _split(condition, "||")
        if len(parts) == 1:
            yield condition, f"{indent};" if "spend(" in condition else f"{indent}(void)({condition});"
        for part in parts if len(parts) > 1 else []:
            others = [f"((void)({other}), 0)" if other is part else other for other in parts]
            yield part, f"{indent}if ({' || '.join(others)}) {action}"
    elif found := _CONJUNCTION.match(line):
        indent, start, condition = found.groups()
        parts = _split(condition, "&&")
        for part in parts:
            others = [f"((void)({other}), 1)" if other is part else other for other in parts]
            yield part, f"{indent}{start} {' && '.join(others)};"
    elif found := _VERDICT.match(line):
        yield line.strip(), f"{found[1]}return EQ_OK;"
    elif found := _STAGE.match(line):
        yield found[2], f"{found[1]};"
    elif found := _TAIL.match(line):
        yield found[2], f"{found[1]}return EQ_OK;"


def _split(condition: str, operator: str) -> list[str]:
    """Split at an operator outside parentheses."""
    parts, depth, current = [], 0, ""
    for token in re.split(r"(\|\||&&|[()])", condition):
        depth += (token == "(") - (token == ")")
        if token == operator and depth == 0:
            parts.append(current.strip())
            current = ""
        else:
            current += token
    return [*parts, current.strip()]


def killed(mutant: Mutant, folder: Path, seeds: Path, expensive: dict[Path, str], seconds: int) -> str | None:
    """Say how the mutant was found out, or None."""
    source = folder / "model.c"
    source.write_text(mutant.text)
    files = [path for path in sources() if path != native_dir() / MODEL] + [source]
    try:
        if "spend(" in mutant.removed or "> *work" in mutant.removed:
            return _expensive_model_accepted(folder, files, expensive)
        program = fuzz_program(folder, files)
    except subprocess.CalledProcessError:
        return "does not compile"
    started = time.monotonic()
    done = run_fuzzer(program, folder / "found", seeds, seconds=seconds, seed=1)
    if done.returncode == 0:
        return None
    why = re.findall(
        r"fuzz_model: .*|runtime error: .{0,40}|ERROR: \w+Sanitizer: \S+|ERROR: libFuzzer: \S+", done.stderr
    )
    return f"{why[0] if why else 'crash'}, {time.monotonic() - started:.1f} s"


def _expensive_model_accepted(folder: Path, files: list[Path], expensive: dict[Path, str]) -> str | None:
    flags = (*COVERAGE, "-Wno-error")
    program = linked(folder / "replay", [*files, HERE / TARGET[0], HERE / TARGET[1]], flags, COVERAGE[1:2])
    for path, status in expensive.items():
        try:
            done = subprocess.run([program, path], capture_output=True, text=True, check=False, timeout=20, cwd=folder)
        except subprocess.TimeoutExpired:
            return f"{path.stem}: takes too long"
        if not done.stdout.startswith(status):
            return f"{path.stem}: {done.stdout.split()[0] if done.stdout else 'crash'}"
    return None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="of fuzzing for each mutant (default: %(default)s)")
    parser.add_argument("--only", type=int, nargs=2, metavar=("FIRST", "LAST"), help="lines of model.c to mutate")
    options = parser.parse_args()
    text = (native_dir() / MODEL).read_text()
    survivors = 0
    with tempfile.TemporaryDirectory(prefix="edgeq-mutants-") as name:
        seeds = Path(name) / "seeds"
        write_corpus(seeds)
        expensive = {}
        for title, plan, status in expensive_plans():
            path = Path(name) / f"{title}.eqm"
            path.write_bytes(write_model(plan))
            expensive[path] = status
        for number, mutant in enumerate(mutants(text)):
            if options.only and not options.only[0] <= mutant.line <= options.only[1]:
                continue
            folder = Path(name) / str(number)
            folder.mkdir()
            if mutant.removed in EQUIVALENT:
                verdict = f"equivalent: {EQUIVALENT[mutant.removed]}"
            else:
                found = killed(mutant, folder, seeds, expensive, options.seconds)
                survivors += found is None
                verdict = "SURVIVED" if found is None else f"killed: {found}"
            print(f"{mutant.line:4d}  {mutant.removed:<88}  {verdict}", flush=True)
    print(f"{survivors} survived")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
