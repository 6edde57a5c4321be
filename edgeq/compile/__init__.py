# SPDX-License-Identifier: Apache-2.0
"""Quantized Graph to Plan: lowering, scheduling, memory placement."""
