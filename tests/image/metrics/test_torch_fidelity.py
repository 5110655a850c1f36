"""The numbers of torch-fidelity from the same features, and its Inception network as an extractor."""

import json

import numpy as np
import pytest
import torch

from isd_core.support import files
from isd_image import evaluate, reference
from isd_image.metrics.distances import Gaussian, frechet, inception_score, kernel_distance, precision_recall
from isd_image.metrics.extractors import Inception

pytest.importorskip("torch_fidelity")
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_isc import isc_features_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric
from torch_fidelity.metric_prc import prc_features_to_metric


@pytest.fixture(scope="module")
def features():
    """Features of 90 real and 70 generated images that overlap in part."""
    rng = torch.Generator().manual_seed(0)
    mix = torch.randn(12, 12, generator=rng)
    return torch.randn(90, 12, generator=rng) @ mix, 0.4 + torch.randn(70, 12, generator=rng) @ mix


def test_frechet(features):
    real, fake = features
    theirs = fid_statistics_to_metric(*(fid_features_to_statistics(x.double()) for x in features), verbose=False)
    ours = frechet(Gaussian.of(fake), Gaussian.of(real))
    assert ours == pytest.approx(theirs["frechet_inception_distance"], rel=1e-9)


def test_kid_of_whole_sets(features):
    """With subsets as large as the set, a subset is the set."""
    real, fake = features[0][:70], features[1]
    theirs = kid_features_to_metric(fake.double(), real.double(), kid_subset_size=70, verbose=False)
    assert kernel_distance(fake, real)[0] == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-9)


def test_precision_and_recall(features):
    real, fake = features
    theirs = prc_features_to_metric(fake.double(), real.double(), verbose=False)
    precision, recall = precision_recall(real, fake)
    assert (precision, recall) == pytest.approx((theirs["precision"], theirs["recall"]), abs=1e-6)
    assert 0 < precision < 1 and 0 < recall < 1


def test_inception_score():
    logits = torch.randn(73, 20, generator=torch.Generator().manual_seed(0))
    theirs = isc_features_to_metric(logits)
    expected = theirs["inception_score_mean"], theirs["inception_score_std"]
    assert inception_score(logits) == pytest.approx(expected, rel=1e-9)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Random weights in the file that torch-fidelity reads, and the network that has them."""
    from unittest.mock import patch

    torch.manual_seed(0)
    place = tmp_path_factory.mktemp("inception") / "weights.pth"
    with patch.object(torch, "load", lambda *_, **__: {}), patch.object(torch.nn.Module, "load_state_dict"):
        network = FeatureExtractorInceptionV3("inception", ["2048", "logits_unbiased"], str(place))
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):  # keeps the size of the activations
            module.weight.data.fill_(2.0)
    torch.save(network.state_dict(), place)
    return place, network


@pytest.fixture
def accepted(weights, monkeypatch):
    """The hash of these weights passes for the published one."""
    monkeypatch.setattr("isd_image.metrics.extractors.INCEPTION_SHA256", files.sha256(weights[0])[:8])
    return weights


def test_the_extractor_is_torch_fidelitys_network(accepted):
    place, network = accepted
    images = torch.randint(0, 256, (2, 3, 24, 24), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    features, logits, spatial = Inception(str(place), "cpu")(images)
    maps = []
    network.Mixed_6d.branch1x1.register_forward_hook(lambda module, given, out: maps.append(out))
    expected = network(images)
    torch.testing.assert_close(spatial, maps[0].permute(0, 2, 3, 1)[..., :7].reshape(2, 2023))
    torch.testing.assert_close((features, logits), tuple(expected))
    assert (features.shape, logits.shape) == ((2, 2048), (2, 1008))
    assert features.std() > 0


@pytest.mark.slow
def test_fid_and_its_companions_of_a_set_of_samples(accepted, call, tree, tmp_path):
    source = f"extractor.source={accepted[0]}"
    made = [f"images={tree}", f"out={tmp_path / 'r.npz'}", "size=16", source]
    assert call(reference, "image_reference", *made) == 0
    with np.load(tmp_path / "r.npz") as file:  # all that ADM's evaluator reads
        shapes = {key: file[key].shape for key in ("mu", "sigma", "mu_s", "sigma_s", "arr_0")}
    assert shapes == {
        "mu": (2048,),
        "sigma": (2048, 2048),
        "mu_s": (2023,),
        "sigma_s": (2023, 2023),
        "arr_0": (9, 16, 16, 3),
    }
    images = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3), dtype=np.uint8)
    np.savez(tmp_path / "s.npz", arr_0=images)
    words = [f"samples={tmp_path / 's.npz'}", f"reference={tmp_path / 'r.npz'}", "extractor=inception", source]
    assert call(evaluate, "image_evaluate", *words, f"out={tmp_path / 'e.json'}") == 0
    report = json.loads((tmp_path / "e.json").read_text())
    expected = {"fid", "inception_score", "inception_score_std"}
    expected |= {f"{name}[inception-v3]" for name in ("kid", "kid_std", "precision", "recall")}
    assert set(report["nfe"]["given"]) == expected
    assert report["protocol"]["name"] == "fid, 6 samples"
    assert "torch-fidelity" in report["protocol"]["extractor"]["resize"]
