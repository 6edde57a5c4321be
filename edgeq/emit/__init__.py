# SPDX-License-Identifier: Apache-2.0
"""Plan to C source."""
