# SPDX-License-Identifier: Apache-2.0
"""Calibration and static quantization of float graphs."""
