# SPDX-License-Identifier: Apache-2.0
"""Run a model on this machine: the native library and the NumPy twin."""
