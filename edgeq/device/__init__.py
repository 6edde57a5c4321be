# SPDX-License-Identifier: Apache-2.0
"""Build for, emulate and talk to a board."""
