# SPDX-License-Identifier: Apache-2.0
"""Accuracy, per-layer comparison and cost, as plain data."""
