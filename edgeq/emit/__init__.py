# SPDX-License-Identifier: Apache-2.0
"""Models for other tools: a Plan as C source, a quantized Graph as a .tflite."""
