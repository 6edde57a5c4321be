# SPDX-License-Identifier: Apache-2.0
"""One file per range-estimation method; the folder is the registry."""
