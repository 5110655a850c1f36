"""`python -m isd_policy.deploy.export`: a bundle's sampler as an ONNX file and as a program of torch."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from isd_core.support.cli import command, resolved
from isd_core.support.errors import InputError
from isd_core.support.overrides import command_line
from isd_policy.validation import check_whole


@command("deploy_export")
def main(cfg: DictConfig) -> None:
    """Writes a bundle's sampler (normalise, network calls, decode) as graphs, and compares them with the policy."""
    from isd_policy.deploy.bundle import folder as bundle_folder  # torch waits until the words are understood
    from isd_policy.deploy.export.writer import OBSERVATIONS, TOLERANCES, write_export

    config = resolved(cfg)
    formats = config["formats"]
    if not formats or set(formats) - {"onnx", "program"}:
        raise InputError(f"formats={formats}: expected one or both of onnx and program, as [onnx,program].")
    precision = config["precision"]
    if precision not in TOLERANCES:
        raise InputError(f"precision={precision}: expected one of {', '.join(TOLERANCES)}.")
    if precision == "bfloat16" and formats != ["onnx"]:
        raise InputError("precision=bfloat16 needs formats=[onnx]: OpenVINO computes it, and torch's program does not.")
    if precision == "int8" and (formats != ["onnx"] or config["batch"] != 1):
        raise InputError(
            "precision=int8 needs formats=[onnx] and batch=1: the rows of a call would share their scales."
        )
    if config["batch"] is not None:
        check_whole(config, "batch")
    bundle = bundle_folder.read(config["bundle"])
    nfe = bundle.meta["nfe"] if config["nfe"] is None else config["nfe"]
    export = write_export(bundle, Path(config["out"]), nfe, config["batch"], formats, precision)
    differences = export.meta["graph"]["difference"]
    print(
        f"{bundle.meta['task']}, {nfe} NFE, {precision}, "
        + ("any batch" if config["batch"] is None else f"batch {config['batch']}")
        + "; largest difference from the policy over "
        + f"{OBSERVATIONS} random observations, in half ranges of the actions: "
        + ", ".join(f"{name} {value:.1e}" for name, value in differences.items())
        + f". Written: {export.path}. Next: "
        + command_line("isd_policy.run", checkpoint=str(export.path), rate=20, seconds=10)
    )


if __name__ == "__main__":
    main()
