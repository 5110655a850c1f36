"""`python -m isd_policy.deploy.serve`: a bundle's policy for clients on a network."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from isd_core.support.cli import command, resolved
from isd_core.support.errors import InputError
from isd_policy.deploy.bundle.folder import Bundle
from isd_policy.deploy.export.folder import Export
from isd_policy.loading import load_saved, open_saved
from isd_policy.validation import check_positive, check_whole


@command("deploy_serve")
def main(cfg: DictConfig) -> None:
    """Serves a bundle's or an export's policy over a websocket until it is told to end (SIGINT, SIGTERM)."""
    config = resolved(cfg)
    check_positive(config, "deadline", "grace")
    check_whole(config, "clients", *(key for key in ("threads", "batch") if config[key] is not None))
    check_whole(config, "port", "seed", least=0)
    saved = open_saved(config["bundle"])
    if not isinstance(saved, Bundle | Export):
        raise InputError(f"{saved.path} is a checkpoint; make a bundle of it first: isd_policy.deploy.bundle.")
    if config["threads"] is not None:
        torch.set_num_threads(config["threads"])
    policy = load_saved(saved, device=config["device"])
    policy.use(config["nfe"])
    asyncio.run(serve_until_told(config, policy, saved.meta | {"nfe": policy.nfe}))


async def serve_until_told(config: dict[str, Any], policy: Any, card: dict[str, Any]) -> None:
    """Serves until a signal comes."""
    try:
        from isd_policy.deploy.serve.batcher import DynamicBatcher
        from isd_policy.deploy.serve.server import Limits, PolicyServer
    except ImportError as error:
        raise InputError(f"A server needs the extra [serve] ({error}): pip install 'isd-flow[serve]'.") from error
    batcher = DynamicBatcher(policy, config["batch"])
    server = PolicyServer(
        policy,
        card,
        batcher,
        host=config["host"],
        port=config["port"],
        token=token_in(config["token_file"]),
        limits=Limits(config["deadline"], config["clients"], config["grace"]),
        seed=config["seed"],
    )
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    try:
        port = await server.start()
    except OSError as error:
        raise InputError(f"host={config['host']} port={config['port']} cannot be listened at: {error}.") from error
    print(
        f"Serving {card['task']}, {policy.nfe} NFE, at ws://{config['host']}:{port}; up to {batcher.batch} requests "
        f"are computed at once. Health: http://{config['host']}:{port}/healthz, metrics: /metrics.",
        flush=True,
    )
    await ended.wait()
    print("Ending: no more requests, the last answers are given.", flush=True)
    await server.stop()
    batcher.close()


def token_in(file: str | None) -> str | None:
    """The secret in a file, or None; `InputError` where the file does not hold one."""
    if file is None:
        return None
    try:
        token = Path(file).read_text().strip()
    except OSError as error:
        raise InputError(f"token_file={file} cannot be read: {error}.") from error
    if not token or not token.isascii():
        raise InputError(f"token_file={file} holds no secret: expected one line of ASCII characters.")
    return token


if __name__ == "__main__":
    main()
