#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Write the generated C headers from their Python definitions; with --check, only say whether they are current."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from edgeq.format import headers


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="exit 1 when a file would change; write nothing")
    check: bool = parser.parse_args().check
    stale = []
    root = Path(__file__).resolve().parent.parent
    for relative, text in headers.generated_files().items():
        path = root / relative
        if path.exists() and path.read_text() == text:
            continue
        stale.append(relative)
        if not check:
            path.write_text(text)
    for relative in stale:
        print(f"{'stale' if check else 'wrote'}: {relative}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
