# SPDX-License-Identifier: Apache-2.0
# Sourced by tools/demo and tools/test: a virtual environment with edgeq in it, and the programs that apt can add.

say() { printf '%s\n' "$*" >&2; }

# Print the first Python of at least 3.11; fail with advice when there is none.
find_python() {
  local candidate
  for candidate in "${PYTHON:-}" python3 python3.13 python3.12 python3.11; do
    [ -n "$candidate" ] && command -v "$candidate" >/dev/null 2>&1 || continue
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      command -v "$candidate"
      return 0
    fi
  done
  say "edgeq needs Python 3.11 or newer; install it, or name one with PYTHON=/path/to/python"
  return 1
}

# Install the given Debian packages where that needs no asking; otherwise print the one command that does.
want_packages() {
  local package missing=()
  for package in "$@"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return 0
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    say "installing ${missing[*]}"
    if apt-get install -y -qq "${missing[@]}" >/dev/null 2>&1; then return 0; fi
    apt-get update -qq >/dev/null && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${missing[@]}" >/dev/null
    return
  fi
  say "some checks need more programs; to get them: sudo apt install ${missing[*]}"
  return 0
}

# Whether a Python's C headers are there, which the binding is compiled against.
has_headers() {
  "$1" -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))'
}

# Make .venv and install edgeq with the given extras into it, from this checkout.
make_environment() {
  local extras=$1 python stamp
  python=$(find_python)
  if ! command -v cc >/dev/null 2>&1 && ! command -v gcc >/dev/null 2>&1; then
    want_packages gcc libc6-dev
    command -v gcc >/dev/null 2>&1 || { say "edgeq needs a C compiler: sudo apt install gcc libc6-dev"; return 1; }
  fi
  if ! has_headers "$python"; then
    want_packages "$("$python" -c 'import sys; print("python%d.%d-dev" % sys.version_info[:2])')"
    has_headers "$python" || { say "edgeq needs Python's C headers; see the command above"; return 1; }
  fi
  if [ ! -x .venv/bin/python ]; then
    if ! "$python" -m venv .venv 2>/dev/null; then
      rm -rf .venv
      want_packages python3-venv
      "$python" -m venv .venv || { say "cannot make a virtual environment: sudo apt install python3-venv"; return 1; }
    fi
  fi
  stamp=$(cat pyproject.toml <(printf '%s' "$extras") | cksum)
  if [ "$(cat .venv/edgeq-stamp 2>/dev/null)" != "$stamp" ]; then
    say "setting up .venv (once)"
    .venv/bin/python -m pip install -q --disable-pip-version-check 'scikit-build-core>=0.10' cffi cmake ninja
    .venv/bin/python -m pip install -q --disable-pip-version-check --no-build-isolation -e ".[$extras]"
    printf '%s' "$stamp" >.venv/edgeq-stamp
  else
    # the sources may have changed: the build is incremental, so this takes seconds
    .venv/bin/python -m pip install -q --disable-pip-version-check --no-build-isolation --no-deps -e .
  fi
}
