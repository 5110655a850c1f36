"""The table of attempts: its exit code, its continuation, and its parts at toy size."""

import pytest

from isd_core.support.files import read_json
from scripts.benchmarks import reliability
from scripts.benchmarks.attacks import numbers
from scripts.benchmarks.attacks.tally import Tally
from scripts.support import pages


def test_the_documentations_table_is_the_records():
    assert pages.filled(reliability.PAGE, {"all": reliability.published()}, "attempts") == reliability.PAGE.read_text()
    records = read_json(reliability.RECORD)["cells"]
    assert {record["settings"]["part"] for record in records.values()} == set(reliability.PARTS)
    assert all(
        record["settings"]["tries"] == reliability.TRIES[record["settings"]["part"]] for record in records.values()
    )


@pytest.fixture
def command(tmp_path, monkeypatch):
    """command(*words): runs it on parts that count their calls and find what `found` says."""
    calls, found = [], {"flips": "refused", "chunks": "unharmed"}

    def part(name):
        def attempt(out, tries, seed):
            calls.append((name, tries, seed))
            tally = Tally(f"attempts of {name}")
            tally.count("one", found[name])
            return [tally]

        return attempt

    monkeypatch.setattr(reliability, "PARTS", {name: part(name) for name in found})

    def call(*words):
        return reliability.main(["--out", str(tmp_path / "out"), *words])

    call.calls, call.found, call.out = calls, found, tmp_path / "out"
    return call


def test_what_was_refused_or_without_effect_is_fine(command, capsys):
    assert command() == 0
    assert "| attempts of flips | 1 | 1 | 0 | 0 | 0 |" in capsys.readouterr().out
    table = read_json(command.out / "table.json")
    assert table["machine"]["processor"] and "torch" in table["machine"]["versions"]


@pytest.mark.parametrize("happened", ["error: KeyError", "another result"])
def test_anything_else_is_an_exit_code_and_a_line(command, capsys, happened):
    command.found["chunks"] = happened
    assert command() == 1
    assert f"attempts of chunks: one: {happened}" in capsys.readouterr().err


def test_what_is_done_is_kept_and_what_failed_is_done_again(command):
    command.found["chunks"] = "another result"
    command("--quick")
    command.found["chunks"] = "refused"
    assert command("--quick") == 0
    assert [name for name, *_ in command.calls] == ["flips", "chunks", "chunks"]


def test_a_part_alone_with_its_number_of_tries(command):
    command("--quick", "--only", "chunks", "--seed", "3")
    assert command.calls == [("chunks", reliability.QUICK["chunks"], 3)]


def test_an_unknown_part_is_named(command, capsys):
    assert command("--only", "absent") == 2
    assert "the parts are flips, chunks" in capsys.readouterr().err


def test_every_part_has_its_numbers():
    assert reliability.PARTS.keys() == reliability.TRIES.keys() == reliability.QUICK.keys()


@pytest.mark.parametrize("value, whole", [(0.5, True), (-2.0, False)])
def test_finite_numbers_are_answered(tmp_path, value, whole):
    place = numbers.material.write_checkpoint(tmp_path / "run", 0)
    policy = numbers.isd_policy.load(place)
    assert numbers.finite(lambda: numbers.observed(policy, "object", value, whole)) == "unharmed"
