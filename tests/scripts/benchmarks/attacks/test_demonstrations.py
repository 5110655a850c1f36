"""Hostile files of demonstrations: each differs from the whole one, and is refused or without effect."""

from scripts.benchmarks.attacks import demonstrations, material


def test_every_change_has_a_name(tmp_path):
    found = list(demonstrations.hdf5_edits(tmp_path / "touched", tmp_path / "other"))
    assert len({name for name, _ in found}) == len(found) > 100
    stores = list(demonstrations.zarr_edits())
    assert len({(name, place) for name, place, _ in stores}) == len(stores) > 20


def test_nothing_is_read_from_other_files_and_no_codec_runs(tmp_path):
    files, stores = demonstrations.demonstrations(tmp_path, 25, seed=0)
    assert files.tried == 25 and stores.tried > 20
    assert not files.examples + stores.examples
    assert stores.refused == stores.tried


def test_the_whole_file_is_read(tmp_path):
    path = material.write_demonstrations(tmp_path / "demos.hdf5", 0)
    assert demonstrations.read(path)["actions"].shape == (120, 7)
