# SPDX-License-Identifier: Apache-2.0
"""Run the command line as ``python -m edgeq.cli``."""

import sys

from edgeq.cli import main

sys.exit(main())
