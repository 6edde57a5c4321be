# SPDX-License-Identifier: Apache-2.0
"""One file per source format: bytes to Graph."""
