# SPDX-License-Identifier: Apache-2.0
"""edgeq: trained models to verified integer-only programs on edge devices."""
