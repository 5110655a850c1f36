"""Charts are well-formed SVG whose marks stand where the numbers say."""

import math
import re
import xml.etree.ElementTree as ElementTree

import pytest

from isd_core.support.charts import (
    WIDTH,
    Bar,
    Curve,
    curves,
    histogram,
    linear_ticks,
    log_ticks,
    split,
    success_bars,
    thin,
)


def rects(svg, kind):
    return [rect for rect in ElementTree.fromstring(svg).iter("rect") if rect.get("class") == kind]


def test_a_bar_is_as_long_as_its_rate():
    half, full = (
        float(rects(success_bars([Bar("a", rate, 0.1, 0.9, "")]), "method")[0].get("width")) for rate in (0.5, 1.0)
    )
    assert half == pytest.approx(full / 2, abs=0.1)


def test_labels_are_escaped():
    ElementTree.fromstring(success_bars([Bar("a < b & c", 0.5, 0.1, 0.9, '"')]))


def test_a_chart_describes_itself():
    svg = ElementTree.fromstring(success_bars([Bar("iSD, 1 NFE", 0.97, 0.9, 0.99, "97 of 100")]))
    assert "iSD, 1 NFE: 97 of 100" in svg.get("aria-label")


def test_curves_leave_out_what_a_logarithm_cannot_show():
    svg = curves([Curve("loss", [(1, 1.0), (2, 0.0), (3, math.nan), (4, math.inf), (5, 0.1)])], "step")
    points = re.search(r'points="([^"]*)"', svg)[1]
    assert len(points.split()) == 2


def test_curves_without_a_point_are_an_error():
    with pytest.raises(ValueError, match="no finite point"):
        curves([Curve("loss", [(1, 0.0)])], "step")


def test_a_constant_curve_is_drawn():
    ElementTree.fromstring(curves([Curve("loss", [(1, 0.5), (2, 0.5)])], "step"))


def test_a_single_point_is_drawn():
    ElementTree.fromstring(curves([Curve("loss", [(1, 0.5)])], "step"))


def test_values_beyond_the_deadline_are_marked():
    assert len(rects(histogram([1.0, 2.0, 80.0], deadline=50.0), "late")) == 1


def test_no_mark_leaves_the_chart():
    for rect in rects(histogram([0.0, 49.9, 50.0], deadline=50.0), "method"):
        assert 0 <= float(rect.get("x")) <= WIDTH - float(rect.get("width"))


def test_an_empty_histogram_is_an_error():
    with pytest.raises(ValueError, match="no value"):
        histogram([], deadline=50.0)


def test_the_split_fills_the_width():
    widths = [float(rect.get("width")) + 1 for rect in rects(split([("a", 3.0), ("b", 1.0)]), "method")]
    assert widths == pytest.approx([0.75 * WIDTH, 0.25 * WIDTH], abs=0.2)


def test_a_split_of_nothing_is_drawn():
    ElementTree.fromstring(split([("a", 0.0)]))


@pytest.mark.parametrize("low, high", [(0, 53), (0, 0.02), (10, 600), (5, 5)])
def test_linear_ticks_are_few_and_inside(low, high):
    ticks = linear_ticks(low, high)
    assert 1 <= len(ticks) <= 6
    assert all(low <= tick <= high * (1 + 1e-9) for tick in ticks)


@pytest.mark.parametrize("low, high", [(0.01, 10), (0.4, 0.6), (1e-5, 1)])
def test_log_ticks_are_inside(low, high):
    ticks = log_ticks(low, high)
    assert len(ticks) >= 2
    assert all(low <= tick <= high for tick in ticks)


def test_thinning_keeps_the_last_point():
    points = [(k, k) for k in range(1001)]
    kept = thin(points)
    assert kept[-1] == (1000, 1000)
    assert len(kept) <= 301
