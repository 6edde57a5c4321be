#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fuzz the model loader or the link under ASan and UBSan, then measure how much of it the inputs reach."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from device.plans import program as small_program
from link_corpus import write_link_corpus
from make_corpus import MAX_BYTES, write_corpus, write_real_models

from edgeq.format.write import write_model
from edgeq.paths import native_dir

HERE = Path(__file__).resolve().parent
TARGET = ("fuzz_model.c", "model_oracle.c", "fuzz_mutator.c")
LINK_TARGET = ("fuzz_link.c", "link_peer.c")
COVERED = {"model": "runtime/model.c", "link": "link/commands.c"}  # whose branches must be reached
SANITIZE = ("-g", "-O2", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
FUZZ = (*SANITIZE, "-fsanitize=fuzzer-no-link")
LINK_FUZZ = (*SANITIZE, "-fsanitize=fuzzer")
COVERAGE = ("-O1", "-fprofile-instr-generate", "-fcoverage-mapping", "-DSTANDALONE")
QUICK = ("-DEQ_TEXT_INFERENCES=4",)  # of a text command: fuzzing is about bytes, not about inferences
SECONDS_PER_INPUT = 5


def sources() -> list[Path]:
    """Return the files under test."""
    root = native_dir()
    return sorted([*root.glob("runtime/*.c"), *root.glob("ops/*.c"), *root.glob("kernels/**/*.c")])


def link_sources() -> list[Path]:
    """Return the files under test when that is the link."""
    return [*sources(), *sorted([*native_dir().glob("link/*.c"), *native_dir().glob("store/*.c")])]


def compiler() -> str:
    found = shutil.which("clang-19") or shutil.which("clang")
    if found is None:
        raise SystemExit("fuzz: clang is not installed; ./tools/test installs it where it may")
    return found


def compiled(source: Path, flags: tuple[str, ...]) -> Path:
    """Compile one file to an object, once per content of it and of all headers."""
    root = native_dir()
    headers = sorted([*root.glob("**/*.h"), *root.glob("**/*.inc"), *HERE.glob("*.h")])
    content = b"".join(path.read_bytes() for path in [source, *headers]) + repr((flags, str(source))).encode()
    target = Path(tempfile.gettempdir()) / f"edgeq-fuzz-{os.getuid()}" / f"{hashlib.sha256(content).hexdigest()[:20]}.o"
    if not target.exists():
        target.parent.mkdir(exist_ok=True)
        built = target.with_suffix(f".{os.getpid()}-{threading.get_ident()}.o")
        includes = [f"-I{root}/include", f"-I{root}", f"-I{HERE}"]
        command = [compiler(), "-std=c11", "-D_POSIX_C_SOURCE=200809L", *flags, *includes, "-c", str(source)]
        subprocess.run([*command, "-o", str(built)], check=True)
        built.rename(target)
    return target


def linked(program: Path, files: list[Path], flags: tuple[str, ...], link: tuple[str, ...]) -> Path:
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        objects = [str(path) for path in pool.map(lambda source: compiled(source, flags), files)]
    subprocess.run([compiler(), *link, *objects, "-o", str(program)], check=True)
    return program


def fuzz_program(folder: Path, files: list[Path], target: tuple[str, ...] = TARGET) -> Path:
    return linked(folder / "fuzz", files + [HERE / name for name in target], (*FUZZ, *QUICK), LINK_FUZZ)


def run_fuzzer(program: Path, found: Path, seeds: Path, *, seconds: int, seed: int) -> subprocess.CompletedProcess[str]:
    """Fuzz until something is found or the time is over; new inputs go to ``found``, findings beside it."""
    found.mkdir(exist_ok=True)
    options = [f"-max_total_time={seconds}", f"-max_len={MAX_BYTES}", f"-timeout={SECONDS_PER_INPUT}", f"-seed={seed}"]
    options += [f"-artifact_prefix={found.parent}/", "-print_final_stats=1", "-verbosity=1", "-keep_seed=1"]
    return subprocess.run(
        [str(program), *options, str(found), str(seeds)], capture_output=True, text=True, check=False, errors="replace"
    )


def branch_coverage(
    folder: Path, inputs: list[Path], files: list[Path], target: tuple[str, ...] = TARGET
) -> dict[str, tuple[int, int]]:
    """Replay inputs; return (branches taken, branches) of every file of the library."""
    parts = [HERE / target[0], HERE / target[1]]
    program = linked(folder / "replay", [*files, *parts], (*COVERAGE, *QUICK), COVERAGE[1:2])
    profile = folder / "replay.profraw"
    environment = {**os.environ, "LLVM_PROFILE_FILE": str(profile) + ".%p"}
    for start in range(0, len(inputs), 500):
        batch = [str(path) for path in inputs[start : start + 500]]
        subprocess.run([str(program), *batch], check=True, env=environment, stdout=subprocess.DEVNULL)
    profiles = [str(path) for path in folder.glob("replay.profraw.*")]
    merged = folder / "replay.profdata"
    subprocess.run([_llvm("llvm-profdata"), "merge", "-sparse", *profiles, "-o", str(merged)], check=True)
    export = [_llvm("llvm-cov"), "export", "-summary-only", f"-instr-profile={merged}", str(program)]
    report = json.loads(subprocess.run(export, check=True, capture_output=True, text=True).stdout)
    found = {}
    for file in report["data"][0]["files"]:
        path = Path(file["filename"])
        if path.is_relative_to(native_dir()) and path.suffix == ".c":
            branches = file["summary"]["branches"]
            found[path.relative_to(native_dir()).as_posix()] = (branches["covered"], branches["count"])
    return found


def _llvm(name: str) -> str:
    found = shutil.which(f"{name}-19") or shutil.which(name)
    if found is None:
        raise SystemExit(f"fuzz: {name} is not installed; ./tools/test installs it where it may")
    return found


def model_seeds(folder: Path) -> str:
    """Write what the loader's fuzzer begins with."""
    return f"{write_corpus(folder / 'seeds')} seed files, {write_real_models(folder / 'real')} real models"


def link_seeds(folder: Path) -> str:
    """Write what the link's fuzzer begins with, and the model that its device holds."""
    (folder / "real").mkdir()
    small = small_program()
    path = folder / "model.eqm"
    path.write_bytes(write_model(small.plan))
    os.environ["EDGEQ_FUZZ_MODEL"] = str(path)
    inputs = sum(small.plan.values[port.value].bytes for port in small.plan.inputs)
    return f"{write_link_corpus(folder / 'seeds', path.read_bytes(), inputs)} seed files"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--target", choices=sorted(COVERED), default="model", help="what to fuzz (default: %(default)s)"
    )
    parser.add_argument("--seconds", type=int, default=60, help="how long to fuzz (default: %(default)s)")
    parser.add_argument("--min-branch-coverage", type=float, default=0, help="percent that must be reached")
    parser.add_argument("--seed", type=int, default=1, help="of the fuzzer's random numbers; 0 draws one")
    parser.add_argument("--corpus", type=Path, help="folder that keeps the inputs found from run to run")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="edgeq-fuzz-") as name:
        folder = Path(name)
        seeds, found = folder / "seeds", options.corpus or folder / "found"
        is_link = options.target == "link"
        files, target = (link_sources(), LINK_TARGET) if is_link else (sources(), TARGET)
        print(f"{link_seeds(folder) if is_link else model_seeds(folder)}", flush=True)
        program = fuzz_program(folder, files, target)
        done = run_fuzzer(program, found, seeds, seconds=options.seconds, seed=options.seed)
        lines = done.stderr.splitlines()
        if done.returncode != 0:
            print("\n".join(lines[-60:]))
            for artifact in found.parent.glob("*-*"):
                if artifact.is_file():
                    kept = Path(tempfile.gettempdir()) / artifact.name
                    shutil.copy(artifact, kept)
                    print(f"finding kept as {kept}")
            return 1
        print("\n".join(line for line in lines if line.startswith(("stat::", "Done"))))
        inputs = [*seeds.iterdir(), *found.iterdir(), *(folder / "real").iterdir()]
        coverage = branch_coverage(folder, sorted(inputs), files, target)
        for path, (taken, count) in sorted(coverage.items()):
            if count:
                print(f"{100 * taken / count:6.1f} % of {count:4d} branches  {path}")
        taken, count = coverage[COVERED[options.target]]
        print(f"{len(inputs)} inputs, no findings; {COVERED[options.target]}: {100 * taken / count:.1f} % of branches")
        if 100 * taken / count < options.min_branch_coverage:
            print(f"less than the {options.min_branch_coverage} % asked for")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
