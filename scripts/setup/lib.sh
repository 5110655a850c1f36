# Sourced by demo.sh and test.sh: finds a Python 3.11 and prepares .venv with it. No other state.

find_python() {
    # Prints a working Python 3.11: $PYTHON if set, else the first of the usual names; fails with what to install.
    local candidate candidates=(python3.11 python3 python)
    if [[ -n "${PYTHON:-}" ]]; then candidates=("$PYTHON"); fi
    for candidate in "${candidates[@]}"; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    cat >&2 <<MESSAGE
error: no Python 3.11 was found (tried: ${candidates[*]}). It is the version that the tested set of packages installs on.
Debian 12: apt-get install python3.11 python3.11-venv. Elsewhere: install it with your package
manager, uv or pyenv, and name it: PYTHON=/path/to/python3.11 bash $0
MESSAGE
    return 2
}

prepare() {
    # prepare demo|test [flags]: checks the machine and brings .venv to the state that the purpose needs.
    local python
    python="$(find_python)" || exit 2
    "$python" -m scripts.setup.environment "$@" || exit $?
}
