# Sourced by demo.sh, test.sh and matrix.sh: finds a Python and prepares .venv with it. No other state.

find_python() {
    # Prints a working Python 3.11 or 3.12: $PYTHON if set, else the first of the usual names, else one that uv knows;
    # fails with what to install.
    local candidate found candidates=(python3.11 python3.12 python3 python)
    if [[ -n "${PYTHON:-}" ]]; then candidates=("$PYTHON"); fi
    for candidate in "${candidates[@]}"; do
        if is_supported "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    if [[ -z "${PYTHON:-}" ]] && found="$(uv python find '>=3.11,<3.13' 2>/dev/null)" && is_supported "$found"; then
        echo "$found"
        return
    fi
    cat >&2 <<MESSAGE
error: no Python 3.11 or 3.12 was found (tried: ${candidates[*]}). The simulators need numpy 1.26, which no newer one has.
Debian 12: apt-get install python3.11 python3.11-venv. With uv: uv python install 3.11. Elsewhere: install it with your
package manager or pyenv, and name it: PYTHON=/path/to/python3.11 bash $0
MESSAGE
    return 2
}

is_supported() {
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null
}

prepare() {
    # prepare demo|test [flags]: checks the machine and brings .venv to the state that the purpose needs.
    local python
    python="$(find_python)" || exit 2
    "$python" -m scripts.setup.environment "$@" || exit $?
}
