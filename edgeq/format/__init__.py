# SPDX-License-Identifier: Apache-2.0
"""Plan to model-file bytes and back, and the C headers generated from the same definitions."""
