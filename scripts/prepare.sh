# Sourced by demo and test: makes .venv and installs the project into it, once per change of
# pyproject.toml or scripts/constraints.txt. Leaves the working folder at the repository's root.

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
cd -- "$root"
venv_python="$root/.venv/bin/python"

say() {
  printf '\n==> %s\n' "$*"
}

fail() {
  printf '\nerror: %s\n' "$*" >&2
  exit 3
}

# Prints the first Python >= 3.11 found; PYTHON=/path/to/python chooses one.
find_python() {
  local candidate
  for candidate in ${PYTHON:+"$PYTHON"} python3 python3.14 python3.13 python3.12 python3.11 python; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      command -v -- "$candidate"
      return
    fi
  done
  fail "attachtrans needs Python 3.11 or newer; found: $(python3 --version 2>&1 || true)." \
    "Install one, or name it: PYTHON=/path/to/python3.11 $0"
}

# Digest of all that decides what is installed.
wanted_stamp() {
  "$venv_python" - pyproject.toml scripts/constraints.txt scripts/prepare.sh <<'PY'
import hashlib, pathlib, sys
digest = hashlib.sha256(sys.version.encode())
for name in sys.argv[1:]:
    digest.update(pathlib.Path(name).read_bytes())
print(digest.hexdigest())
PY
}

prepare() {
  local python stamp="$root/.venv/attachtrans-stamp"
  if [[ ! -x $venv_python ]]; then
    python=$(find_python)
    say "making .venv with $python"
    "$python" -m venv .venv || fail "$python cannot make a virtual environment" \
      "(Debian and Ubuntu: apt-get install python3-venv)"
  fi
  if [[ -f $stamp && $(<"$stamp") == "$(wanted_stamp)" ]]; then
    return
  fi
  say "installing into .venv (minutes the first time)"
  "$venv_python" -m pip install --quiet --disable-pip-version-check \
    --constraint scripts/constraints.txt --editable '.[dev]'
  # gdal-utils asks for GDAL's Python bindings, which build from source; its validator needs none.
  "$venv_python" -m pip install --quiet --disable-pip-version-check \
    --constraint scripts/constraints.txt --no-deps gdal-utils
  # spandrel asks for torchvision, which is large and not needed (models/upscaler.py).
  "$venv_python" -m pip install --quiet --disable-pip-version-check \
    --constraint scripts/constraints.txt --no-deps spandrel einops
  check_opencv
  wanted_stamp >"$stamp"
}

# OpenCV's wheel leaves a few libraries to the system; bare containers lack them.
check_opencv() {
  local message
  if ! message=$("$venv_python" -c 'import cv2' 2>&1); then
    fail "OpenCV does not load: ${message##*$'\n'}" \
      "(Debian and Ubuntu: apt-get install libgl1 libglib2.0-0 libxcb1)"
  fi
}
