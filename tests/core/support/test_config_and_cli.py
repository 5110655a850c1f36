import re
import sys

import pytest

from isd_core.support import cli
from isd_core.support.errors import InputError
from isd_core.support.files import atomic_write, read_json, write_json
from isd_core.support.seeds import derive, numpy_rng, torch_rng


def test_streams_differ_by_seed_purpose_and_index_and_repeat():
    keys = [(0, "a", 0), (0, "a", 1), (0, "b", 0), (1, "a", 0)]
    assert len({derive(*key) for key in keys}) == len(keys)
    assert derive(0, "a", 11) != derive(0, "a1", 1)
    assert numpy_rng(0, "a", 3).random() == numpy_rng(0, "a", 3).random()
    assert torch_rng(0, "a").initial_seed() == derive(0, "a")


def test_a_file_is_whole_or_absent(tmp_path):
    path = tmp_path / "deep" / "file.json"
    write_json(path, {"a": 1})
    with pytest.raises(RuntimeError), atomic_write(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert read_json(path) == {"a": 1}
    assert [entry.name for entry in path.parent.iterdir()] == ["file.json"]
    with pytest.raises(ValueError):
        write_json(path, {"a": float("nan")})


def test_broken_and_missing_json_are_named(tmp_path):
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(InputError, match=r"x\.json is not valid JSON"):
        read_json(tmp_path / "x.json")
    with pytest.raises(InputError, match=r"y\.json does not exist"):
        read_json(tmp_path / "y.json")


@pytest.fixture
def program(tmp_path, monkeypatch):
    """A command over a small tree of configs; returns (run, calls)."""
    (tmp_path / "configs" / "law").mkdir(parents=True)
    (tmp_path / "envs").mkdir()
    (tmp_path / "configs" / "job.yaml").write_text(
        "defaults:\n  - law: wide\n  - _self_\n\nsteps: 3  # how many\nout: ???  # where to\n"
    )
    (tmp_path / "configs" / "law" / "wide.yaml").write_text("width: 2  # how wide\n")
    (tmp_path / "configs" / "law" / "narrow.yaml").write_text("width: 1  # how narrow\n")
    monkeypatch.setattr(cli, "CONFIGS", tmp_path / "configs")
    monkeypatch.setattr(cli, "check_packages", lambda: None)
    calls = []

    def job(cfg):
        """Does the job."""
        calls.append(cfg)
        if cfg.steps < 0:
            raise InputError("steps must not be negative")

    return (lambda *arguments: cli.run(job, "job", arguments)), calls


def test_overrides_reach_the_command(program):
    run, calls = program
    assert run("steps=5", "out=x", "law=narrow") == 0
    assert calls[0] == {"steps": 5, "out": "x", "law": {"width": 1}}


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["out=x", "step=5"], "`step` .*`steps`"),
        (["out=x", "law=flat"], "no law called `flat`; known: narrow, wide"),
        ([], "No value was given for: out"),
        (["out=x", "steps=-1"], "must not be negative"),
        (["out=x", "--verbose"], "Unknown flag --verbose"),
        (["out=x", "steps=[1"], r"`steps=\[1` is no override"),
    ],
)
def test_wrong_input_is_one_paragraph_and_exit_code_2(program, capsys, arguments, message):
    run, _ = program
    assert run(*arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    assert re.search(message, error), error


def test_help_shows_every_field_with_its_comment(program, capsys):
    run, calls = program
    assert run("--help", "law=narrow") == 0
    text = capsys.readouterr().out
    assert "Does the job." in text and "steps: 3  # how many" in text and "out: ???  # where to" in text
    assert "law=narrow   # given; choices: narrow, wide" in text and "width: 1  # how narrow" in text
    assert not calls


def test_a_foreign_package_of_our_names_is_named(tmp_path, monkeypatch):
    (tmp_path / "envs").mkdir()
    (tmp_path / "envs" / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "envs", raising=False)
    with pytest.raises(InputError, match=f"`envs`.*{tmp_path}"):
        cli.check_packages()
