"""The table of the two-dimensional experiment, the gates, and what the numbers say, every sentence made from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scripts.experiments.metrics import rank_correlation
from scripts.experiments.toy_cells import NFE, truth
from scripts.support import tables
from scripts.support.tables import Spread, number, spread

Records = Mapping[str, Mapping[str, Any]]
Row = dict[str, Any]

GATES = {"fall": 10.0, "energy": 0.02, "far": 0.25}
FLAT = 0.7  # of the data's standard deviation: a map whose one-step samples spread less counts as flat
MARGIN = 2.0  # a ratio of two means below it is not called a difference, whatever the spread
BLOWN_UP = 1e3  # times another L_ED: no comparison any more


def summary(records: Records) -> list[Row]:
    """One row for each (data, label): spreads over seeds of the last measurement, the first L_ED, and the costs."""
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for record in records.values():
        groups.setdefault((record["settings"]["data"], record["settings"]["label"]), []).append(record)
    return [_row(data, label, group) for (data, label), group in groups.items()]


def _row(data: str, label: str, group: Sequence[Mapping[str, Any]]) -> Row:
    results = [record["result"] for record in group]
    ends = [None if result["diverged"] is not None else result["curve"][-1] for result in results]

    def last(*keys: str) -> Spread | None:
        values = []
        for end in ends:
            value: Any = end
            for key in keys:
                value = None if value is None else value[key]
            values.append(value)
        return spread(values)

    norms = [point["grad_norm_max"] for result in results for point in result["curve"] if point["grad_norm_max"]]
    masses = [mass for end in ends if end and end["masses"]["8"] for mass in end["masses"]["8"]]
    return {
        "data": data,
        "label": label,
        "seeds": len(results),
        "steps": results[0]["steps"],
        "passes": results[0]["passes"],
        "diverged": [result["diverged"] for result in results if result["diverged"] is not None],
        "first": spread([result["curve"][0]["residual"] for result in results]),
        "residual": last("residual"),
        "residual_end": last("residual_end"),
        "residual_own": last("residual_own"),
        "diagonal": last("diagonal"),
        "steepness": last("steepness"),
        "grad_norm": last("grad_norm"),
        "grad_norm_max": max(norms, default=None),
        "seconds": spread([result["train_seconds"] for result in results]),
        "smallest_mass": min(masses, default=None),
        "largest_mass": max(masses, default=None),
        "correlation": correlations(results),
        **{f"energy_{nfe}": last("energy", str(nfe)) for nfe in NFE},
        **{f"far_{nfe}": last("far", str(nfe)) for nfe in NFE},
        **{f"std_{nfe}": last("std", str(nfe)) for nfe in NFE},
    }


def correlations(results: Sequence[Mapping[str, Any]]) -> dict[str, Spread | None]:
    """Rank correlation of L_ED with the energy distance over training: all points, and those of the second half."""
    found: dict[str, Spread | None] = {}
    for nfe in (1, 8):
        for name, start in (("all", 0), ("late", None)):
            values = []
            for result in results:
                curve = result["curve"][len(result["curve"]) // 2 if start is None else start :]
                pairs = [(p["residual"], p["energy"][str(nfe)]) for p in curve]
                pairs = [(a, b) for a, b in pairs if a is not None and b is not None]
                values.append(rank_correlation([a for a, _ in pairs], [b for _, b in pairs]))
            found[f"{name}_{nfe}"] = spread(values)
    return found


def gates(records: Records) -> list[str]:
    """What iSD on the mixture missed, as the mean over its seeds; empty if nothing."""
    row = find(summary(records), "isd")
    if row is None:
        return ["it was not trained"]
    if row["diverged"]:
        return [f"it diverged at step {row['diverged'][0]}"]
    first, last, energy, far = (row[key].mean for key in ("first", "residual", "energy_1", "far_8"))
    missed = []
    if not first / last >= GATES["fall"]:
        missed.append(f"L_ED fell from {number(first)} to {number(last)}, less than {GATES['fall']:g} times")
    if not energy <= GATES["energy"]:
        missed.append(f"the energy distance at 1 NFE is {number(energy)}, above {GATES['energy']:g}")
    if not far <= GATES["far"]:
        missed.append(f"{number(far)} of its 8-NFE samples are farther than .4 from every mode, above {GATES['far']:g}")
    return missed


def find(rows: Sequence[Row], label: str, data: str = "modes") -> Row | None:
    """A row of the table, if it is there."""
    return next((row for row in rows if (row["data"], row["label"]) == (data, label)), None)


def markdown(rows: Sequence[Row], records: Records, size: str, machine: str) -> str:
    """The page: how it was made, the tables, and what they say."""
    settings = next(iter(records.values()))["settings"]
    clip = "no clipping" if settings["clip"] is None else f"gradient norm clipped at {settings['clip']:g}"
    parts = [
        "# Flow maps of two-dimensional data",
        f"`toy.py{'' if size == 'default' else f' --{size}'}`, {settings['passes']} forward passes a training (each of "
        f"batch {settings['batch']}; the steps follow from the passes of a step), MLP {settings['depth']} x "
        f"{settings['width']}, Adam {settings['lr']:g} with a cosine schedule, {clip}, last weights. {machine}.",
        "L_ED is E|df/dt|^2 along the exact marginal velocity v*, summed over the two dimensions, in the linear path's "
        "units. Its two sources: the same along the map's own diagonal, and the diagonal's error E|F(x; t, t) - v*|^2. "
        "Energy distances are unbiased, 3,000 samples against 3,000 fresh data; `far` is the share of samples "
        "farther than .4 from every mode; steepness is the geometric mean of |df/dx|_F of the one-step map. "
        "Mean ± standard deviation over seeds; rows of one seed are single runs, so leads.",
    ]
    for data in dict.fromkeys(row["data"] for row in rows):
        chosen = [row for row in rows if row["data"] == data]
        parts += [f"## {_title(data)}", _table(chosen), _reference(data)]
        parts += ["### What the numbers say", *(f"- {line}" for line in findings(chosen, data))]
    return "\n\n".join(parts).replace("\n\n- ", "\n- ")


def _title(data: str) -> str:
    return {"modes": "Eight modes on a circle of radius 1.5, std .1", "ring": "A ring of radius 1.5, std .1"}[data]


def _table(rows: Sequence[Row]) -> str:
    header = ["objective", "seeds", "steps", "passes a step", "L_ED, s < t", "own residual / diagonal's error"]
    header += ["L_ED, s = 0", "energy 1 / 2 / 4 / 8 NFE"]
    header += ["far 1 / 8 NFE", "masses, 8 NFE", "steepness", "gradient norm (max)", "seconds"]
    lines = []
    for row in rows:
        seeds = f"{row['seeds']}" + (" (single run)" if row["seeds"] == 1 else "")
        if row["diverged"]:
            seeds += f", {len(row['diverged'])} diverged (step {', '.join(map(str, row['diverged']))})"
        energies = " / ".join(str(row[f"energy_{nfe}"] or "-") for nfe in NFE)
        masses = "-" if row["smallest_mass"] is None else f"{_range(row)}"
        norm = f"{row['grad_norm'] or '-'} ({number(row['grad_norm_max'])})"
        line = [row["label"], seeds, row["steps"], f"{row['passes']['total']:g}", row["residual"]]
        line += [f"{row['residual_own'] or '-'} / {row['diagonal'] or '-'}", row["residual_end"], energies]
        line += [f"{row['far_1'] or '-'} / {row['far_8'] or '-'}", masses, row["steepness"], norm]
        lines.append([value if value is not None else "-" for value in [*line, row["seconds"]]])
    return tables.markdown(header, [[str(value) for value in line] for line in lines])


def _range(row: Row) -> str:
    return f"{number(row['smallest_mass'])}-{number(row['largest_mass'])}"


def _reference(data: str) -> str:
    true = truth(data)
    return (
        f"Real data against real data: energy distance {number(true['energy'])}, far {number(true['far'])}; an even "
        f"eighth is .125 ± {number(true['mass_std'])} of so many samples; the true one-step map's steepness is "
        f"{number(true['steepness'])}."
    )


# -- what the numbers say ---------------------------------------------------------------------------------------------


def findings(rows: Sequence[Row], data: str) -> list[str]:
    """Sentences on the questions, each from the rows that it names; questions without their rows are left out."""
    said = [
        _falls(find(rows, "isd", data), data),
        _degenerate(rows, data),
        *(_time_relaxation(rows, method, data) for method in ("isd", "direct")),
        *(_paths(rows, method, data) for method in ("isd", "direct")),
        _best(rows),
        _proxy(rows),
    ]
    return [line for line in said if line]


def _falls(isd: Row | None, data: str) -> str:
    if isd is None or isd["residual"] is None:
        return "" if isd is None else f"iSD diverged at step {isd['diverged'][0]}: the claim that its L_ED falls fails."
    factor, floor = isd["first"].mean / isd["residual"].mean, truth(data)["energy"]
    verdict = "agrees with the claim" if factor >= GATES["fall"] else "is less than the claim asks"
    return (
        f"iSD's L_ED falls from {isd['first']} to {isd['residual']}, {factor:.1f} times, which {verdict}; energy "
        f"distances at 1 and 8 NFE are {isd['energy_1']} and {isd['energy_8']} (real data against real data: "
        f"{number(floor)}), and {isd['far_8']} of the 8-NFE samples are far from every mode."
    )


def _degenerate(rows: Sequence[Row], data: str) -> str:
    true, said = truth(data), []
    for label in ("direct", "direct, spatial stop-gradient", "direct, no stop-gradient", "isd"):
        row = find(rows, label, data)
        if row is None:
            continue
        if row["std_1"] is None or row["steepness"] is None:
            said.append(f"`{label}` diverged")
            continue
        ratio, steep = row["std_1"].mean / true["std"], row["steepness"].mean / true["steepness"]
        verdict = "flat" if ratio < FLAT else "not flat"
        said.append(
            f"`{label}` {ratio:.2f} ({verdict}; steepness {steep:.2f} of the true map's, L_ED {row['residual']})"
        )
    none, full = find(rows, "direct, no stop-gradient", data), find(rows, "direct", data)
    verdict = ""
    if none and full and none["std_1"] and full["std_1"]:
        flat_none, flat_full = (row["std_1"].mean / true["std"] < FLAT for row in (none, full))
        verdict = {
            (True, True): " Direct training is biased to flat maps with and without the stop-gradient, as claimed.",
            (True, False): " The degenerate flat map belongs to direct training without the stop-gradient: with it the "
            "claim is not borne out here.",
            (False, True): " Flat with the stop-gradient and not without it: the opposite of what theory expects.",
            (False, False): " No flat map with or without the stop-gradient: the claim is not borne out here.",
        }[flat_none, flat_full]
    start = "A flat map sends all noise near one point; the standard deviation of one-step samples over the data's: "
    return f"{start}{'; '.join(said)}.{verdict}" if said else ""


def _time_relaxation(rows: Sequence[Row], method: str, data: str) -> str:
    pair, end = find(rows, method, data), find(rows, f"{method}, s = 0", data)
    if pair is None or end is None:
        return ""
    if end["residual"] is None:
        return f"`{method}` with s = 0 diverged (step {end['diverged'][0]}); with s < t its L_ED is {pair['residual']}."
    if pair["residual"] is None:
        return f"`{method}` with s < t diverged; with s = 0 it did not."
    return (
        f"`{method}` with s = 0 instead of s < t: L_ED at s < t {end['residual']} ({_times(end, pair, 'residual')}), "
        f"at s = 0, all that it is trained for, {end['residual_end']} ({_times(end, pair, 'residual_end')}); energy "
        f"distance at 1 NFE {end['energy_1']} ({_times(end, pair, 'energy_1')}), at 8 NFE {end['energy_8']} "
        f"({_times(end, pair, 'energy_8')})."
    )


def _times(a: Row, b: Row, key: str) -> str:
    """How a's mean compares with b's, in words that respect noise."""
    if a[key] is None or b[key] is None or b[key].mean <= 0 or a[key].mean <= 0:
        return f"against {b[key] or '-'}"
    ratio = a[key].mean / b[key].mean
    if 1 / MARGIN < ratio < MARGIN:
        return f"about the same, {ratio:.2f} times {b[key]}"
    return f"{ratio:.1f} times {b[key]}" if ratio > 1 else f"1/{1 / ratio:.1f} of {b[key]}"


def _paths(rows: Sequence[Row], method: str, data: str) -> str:
    linear, curved = find(rows, method, data), find(rows, f"{method}, trigonometric", data)
    if linear is None or curved is None:
        return ""
    if curved["residual"] is None or linear["residual"] is None:
        return f"`{method}`: {'trigonometric' if curved['residual'] is None else 'linear'} diverged, the other did not."
    if curved["residual"].mean > BLOWN_UP * linear["residual"].mean:
        return f"`{method}` on the trigonometric path blew up: L_ED {curved['residual']}, not {linear['residual']}."
    return (
        f"`{method}` on the trigonometric path instead of the linear one: L_ED {curved['residual']} "
        f"({_times(curved, linear, 'residual')}); energy distance at 1 NFE {curved['energy_1']} "
        f"({_times(curved, linear, 'energy_1')}), at 8 NFE {curved['energy_8']} ({_times(curved, linear, 'energy_8')})."
    )


def _best(rows: Sequence[Row]) -> str:
    isd = next((row for row in rows if row["label"] == "isd"), None)
    others = [row for row in rows if row["label"] != "isd" and row["residual"] is not None]
    titles = {"residual": "L_ED", "energy_1": "energy distance at 1 NFE", "energy_8": "at 8 NFE"}
    if isd is None or not others or any(isd[key] is None for key in titles):
        return ""
    said = []
    for key, title in titles.items():
        better = [r for r in others if r[key] is not None and r[key].mean < isd[key].mean]
        better.sort(key=lambda row: row[key].mean)
        names = ", ".join(f"`{row['label']}` {row[key]}{'' if row['seeds'] > 1 else '*'}" for row in better[:4])
        said.append(f"{title} ({isd[key]}): {names or 'none'}" + (" ..." if len(better) > 4 else ""))
    return f"Better than iSD at the same passes in {'; '.join(said)} (* single run)."


def _proxy(rows: Sequence[Row]) -> str:
    within = [f"`{row['label']}` {_pair(row['correlation'])}" for row in rows if row["correlation"]["all_1"]]
    ends = [row for row in rows if all(row[key] is not None for key in ("residual", "energy_1", "energy_8"))]
    across = [
        rank_correlation([r["residual"].mean for r in ends], [r[f"energy_{nfe}"].mean for r in ends]) for nfe in (1, 8)
    ]
    shown = [row for row in within if any(f"`{name}`" in row for name in ("isd", "direct", "meanflow"))]
    text = (
        "L_ED as a proxy of sample quality, rank correlation with the energy distance over training (whole; second "
        f"half), at 1 and 8 NFE: {'; '.join(shown)}."
        if shown
        else ""
    )
    if across[0] is not None and across[1] is not None:
        text += f" Across the {len(ends)} methods at the end: {across[0]:.2f} and {across[1]:.2f}."
    return text.strip()


def _pair(found: Mapping[str, Spread | None]) -> str:
    return ", ".join(f"{nfe} NFE {found[f'all_{nfe}'] or '-'}; {found[f'late_{nfe}'] or '-'}" for nfe in (1, 8))
