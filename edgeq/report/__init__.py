# SPDX-License-Identifier: Apache-2.0
"""One result, many faces: table, JSON, HTML."""
