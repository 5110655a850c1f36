from isd_core.support.seeds import derive, numpy_rng, torch_rng


def test_streams_differ_by_seed_purpose_and_index_and_repeat():
    keys = [(0, "a", 0), (0, "a", 1), (0, "b", 0), (1, "a", 0)]
    assert len({derive(*key) for key in keys}) == len(keys)
    assert derive(0, "a", 11) != derive(0, "a1", 1)
    assert numpy_rng(0, "a", 3).random() == numpy_rng(0, "a", 3).random()
    assert torch_rng(0, "a").initial_seed() == derive(0, "a")
