# SPDX-License-Identifier: Apache-2.0
"""The intermediate representation: graphs, dtypes, quantization parameters and fixed-point arithmetic."""
