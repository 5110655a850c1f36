"""`python -m isd_policy.deploy.serve`: a bundle's policy for clients on a network."""

from __future__ import annotations

import asyncio
import re
import signal
import ssl
import stat
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from isd_core.support.cli import command, resolved
from isd_core.support.errors import InputError
from isd_policy.validation import check_positive, check_whole


@command("deploy_serve")
def main(cfg: DictConfig) -> None:
    """Serves a bundle's or an export's policy over a websocket until it is told to end (SIGINT, SIGTERM)."""
    import torch  # waits, with what needs it, until the words are understood

    from isd_policy.deploy.bundle.folder import Bundle
    from isd_policy.deploy.export.folder import Export
    from isd_policy.loading import load_saved, open_saved

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
    policy.use(config["nfe"], candidates=config["candidates"], choose=config["choose"])
    used = {"nfe": policy.nfe, "candidates": policy.candidates, "choose": policy.choose}
    asyncio.run(serve_until_told(config, policy, saved.meta | used))


async def serve_until_told(config: dict[str, Any], policy: Any, card: dict[str, Any]) -> None:
    """Serves until a signal comes."""
    try:
        from isd_policy.deploy.serve.batcher import DynamicBatcher
        from isd_policy.deploy.serve.server import Limits, PolicyServer
    except ImportError as error:
        raise InputError(f"A server needs the extra [serve] ({error}): pip install 'isd-flow[serve]'.") from error
    token, origins = token_in(config["token_file"]), origins_in(config["origins"])
    tls = tls_of(config["certfile"], config["keyfile"])
    batcher = DynamicBatcher(policy, config["batch"])
    server = PolicyServer(
        policy,
        card,
        batcher,
        host=config["host"],
        port=config["port"],
        token=token,
        origins=origins,
        tls=tls,
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
    secure, place = "" if server.tls is None else "s", f"{config['host']}:{port}"
    print(
        f"Serving {card['task']}, {policy.nfe} NFE, at ws{secure}://{place}; up to {batcher.batch} requests "
        f"are computed at once. Health: http{secure}://{place}/healthz, metrics: /metrics.",
        flush=True,
    )
    await ended.wait()
    print("Ending: no more requests, the last answers are given.", flush=True)
    await server.stop()
    batcher.close()


def origins_in(given: Any) -> list[str]:
    """The origins of web pages that may connect; `InputError` for what is none."""
    origins = [given] if isinstance(given, str) else given
    if not isinstance(origins, list) or not all(re.fullmatch(r"https?://[^/]+", str(origin)) for origin in origins):
        raise InputError(f"origins={given}: expected a list of origins, such as [https://robot.example].")
    return origins


def tls_of(certfile: str | None, keyfile: str | None) -> ssl.SSLContext | None:
    """What makes connections private; None without a certificate. `InputError` for files that are no pair."""
    if certfile is None:
        if keyfile is not None:
            raise InputError(f"keyfile={keyfile} needs certfile=FILE, the certificate that belongs to it.")
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        check_private("certfile" if keyfile is None else "keyfile", certfile if keyfile is None else keyfile)
        context.load_cert_chain(certfile, keyfile)
    except OSError as error:  # of ssl as well
        raise InputError(
            f"certfile={certfile} keyfile={keyfile} cannot be used: {error}. Expected a certificate in PEM and its key."
        ) from error
    return context


def check_private(field: str, file: str) -> None:
    """Raises `InputError` for a file with a secret that every user of this machine may read or write."""
    if Path(file).stat().st_mode & (stat.S_IROTH | stat.S_IWOTH):
        raise InputError(f"{field}={file} may be read or written by everybody on this machine: chmod 600 it.")


def token_in(file: str | None) -> str | None:
    """The secret in a file, or None; `InputError` where the file does not hold one."""
    if file is None:
        return None
    try:
        check_private("token_file", file)
        token = Path(file).read_text().strip()
    except OSError as error:
        raise InputError(f"token_file={file} cannot be read: {error}.") from error
    if not token or not token.isascii():
        raise InputError(f"token_file={file} holds no secret: expected one line of ASCII characters.")
    return token


if __name__ == "__main__":
    main()
