# SPDX-License-Identifier: Apache-2.0
"""The host's side of the edgeq link, which native/LINK.md describes."""
