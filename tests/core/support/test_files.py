import pytest

from isd_core.support.errors import InputError
from isd_core.support.files import atomic_write, read_json, write_json


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


NO_JSON = {
    "endless lists": "[" * 100_000,
    "endless digits": "9" * 10_000,
    "nothing": "",
    "NaN": '{"x": NaN}',
    "infinity": "[-Infinity]",
    "a number that is too large": "1e999",
}


@pytest.mark.parametrize("text", NO_JSON.values(), ids=NO_JSON)
def test_json_that_no_parser_ends_is_refused(tmp_path, text):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(InputError, match=r"x\.json is not valid JSON"):
        read_json(tmp_path / "x.json")
