"""The benchmarks as commands, run as files from another folder."""

import importlib
from pathlib import Path

import pytest

import scripts

ROOT = Path(scripts.__file__).parent
COMMANDS = sorted(path.stem for path in ROOT.glob("benchmark_*.py"))


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_the_body_of_its_benchmark(name):
    command = importlib.import_module(f"scripts.{name}")
    body = importlib.import_module(f"scripts.benchmarks.{name.removeprefix('benchmark_')}")
    assert command.main is body.main


@pytest.mark.parametrize("name", COMMANDS)
def test_help_is_printed_and_a_wrong_flag_ends_with_2(name, capsys):
    main = importlib.import_module(f"scripts.{name}").main
    for flag, code in (("--help", 0), ("--absent-flag", 2)):
        with pytest.raises(SystemExit) as end:
            main([flag])
        assert end.value.code == code
    assert capsys.readouterr().out.startswith("usage: ")
