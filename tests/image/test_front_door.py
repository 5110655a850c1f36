"""Images from Python: `train`, and the run that samples and measures."""

import numpy as np

import isd_image


def test_images_are_trained_sampled_and_measured(tmp_path):
    run = isd_image.train(
        "digits", guidance=isd_image.pre(2.0), steps=2, run_dir=tmp_path / "run", grids=None, trainer={"batch_size": 8}
    )
    images = run.sample(labels=[3, 7], nfe=1)
    assert images.shape == (2, 8, 8, 1) and images.dtype == np.uint8
    np.testing.assert_array_equal(isd_image.load(tmp_path / "run").sample(labels=[3, 7], nfe=1), images)
    report = run.evaluate(nfe=[1], count=50)
    assert list(report["nfe"]) == ["1"] and report["protocol"]
