"""The service under load, and for a while among clients that misbehave.

    python benchmarks/serve.py                    # 30 s of load
    python benchmarks/serve.py --soak 600         # and ten minutes of mixed requests

Load: clients that ask for the expressions of one 640x480 photo again and again, each as soon as it
has its answer, then more of them than the service has places for. Told: answers a second, the 95th
percentile of the time to an answer, and how many were anything but 200, or 429 with a Retry-After.

Soak: good requests of every kind, photos that are none, sizes beyond the limits, unknown models and
wrong tokens, a client that sends half of a request and waits, and one that sends garbage. Told: the
memory of the service after a tenth of the time and at the end, requests without an answer, answers
by status, and the files left in its folder for temporary ones.
"""

from __future__ import annotations

import argparse
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np

from facefactor.demo import portrait_paths
from facefactor.images import read_photo, write_image

AIMS = "aims: 20 answers/s at 16 clients, p95 under 1.5 s, none lost, clear 429 beyond the limit"
CLIENTS, TOO_MANY = 16, 80
Ask = Callable[[httpx.Client], int]  # the status of the answer


@contextmanager
def service(temporary: Path) -> Iterator[tuple[str, int]]:
    """Its address, with a slash at the end, and its process."""
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "facefactor", "serve", "--port", "0"],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(temporary)},
    )
    assert process.stderr is not None
    for line in process.stderr:
        if found := re.search(r"http://\S+/", line):
            break
    else:
        raise SystemExit("the service does not start; try `facefactor serve`")
    threading.Thread(target=lambda: [None for _ in process.stderr], daemon=True).start()
    until_answered(found[0] + "health")
    print(f"page and service ready after {time.perf_counter() - started:.1f} s")
    try:
        yield found[0], process.pid
    finally:
        process.terminate()
        process.wait(30)


def until_answered(address: str) -> None:
    while True:
        try:
            httpx.get(address, timeout=1).raise_for_status()
            return
        except httpx.HTTPError:
            time.sleep(0.05)


def photo_640x480(folder: Path) -> bytes:
    portrait = read_photo(next(iter(portrait_paths().values())))[:480]
    photo = np.full((480, 640, 3), 127, np.uint8)
    photo[: len(portrait), : portrait.shape[1]] = portrait[:, :640]
    write_image(folder / "photo.jpg", photo)
    return (folder / "photo.jpg").read_bytes()


def express(photo: bytes) -> Ask:
    return lambda client: client.post("v1/express", files={"photo": photo}).status_code


def load(address: str, photo: bytes, clients: int, seconds: float) -> None:
    """As many clients as said, each asking again once it is answered."""
    times: list[float] = []
    statuses: Counter[str] = Counter()
    end = time.perf_counter() + seconds

    def ask_on() -> None:
        with httpx.Client(base_url=address, timeout=60) as client:
            while time.perf_counter() < end:
                began = time.perf_counter()
                try:
                    answer = client.post("v1/express", files={"photo": photo})
                except httpx.HTTPError as error:
                    statuses[type(error).__name__] += 1
                    continue
                clear = answer.status_code == 200 or (
                    answer.status_code == 429 and "retry-after" in answer.headers
                )
                statuses[str(answer.status_code) if clear else f"{answer.status_code}!"] += 1
                if answer.status_code == 200:
                    times.append(time.perf_counter() - began)
                elif answer.status_code == 429:
                    time.sleep(0.2)

    threads = [threading.Thread(target=ask_on) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rate, p95 = len(times) / seconds, statistics.quantiles(times, n=20)[-1]
    print(
        f"{clients} clients: {rate:.1f} answers/s, median {statistics.median(times):.2f} s, "
        f"p95 {p95:.2f} s; {dict(statuses)}"
    )


def soak(address: str, process: int, photo: bytes, temporary: Path, seconds: float) -> None:
    statuses: Counter[str] = Counter()
    end = time.perf_counter() + seconds
    two = {"target": photo, "source": photo}
    asks: dict[str, Ask] = {
        "express": express(photo),
        "encode": lambda client: client.post("v1/encode", files={"photo": photo}).status_code,
        "neutral": lambda client: client.post("v1/neutral", files={"photo": photo}).status_code,
        "transfer": lambda client: client.post("v1/transfer", files=two).status_code,
        "verify": lambda client: (
            client.post("v1/verify", files={"first": photo, "second": photo}).status_code
        ),
        "no photo": lambda client: (
            client.post("v1/express", files={"photo": b"no photo at all"}).status_code
        ),
        "half a photo": lambda client: (
            client.post("v1/express", files={"photo": photo[: len(photo) // 2]}).status_code
        ),
        "too large": lambda client: (
            client.post("v1/express", files={"photo": bytes(25_000_000)}).status_code
        ),
        "unknown model": lambda client: (
            client.post(
                "v1/encode", files={"photo": photo}, data={"model": "../../etc/passwd"}
            ).status_code
        ),
        "unknown path": lambda client: client.get("v1/../../etc/passwd").status_code,
        "models": lambda client: client.get("v1/models").status_code,
    }

    def in_turn(first: int) -> None:
        names = list(asks)[first:] + list(asks)[:first]
        with httpx.Client(base_url=address, timeout=90) as client:
            while True:
                for name in names:
                    if time.perf_counter() > end:
                        return
                    try:
                        statuses[f"{name}: {asks[name](client)}"] += 1
                    except httpx.HTTPError as error:
                        statuses[f"{name}: LOST, {type(error).__name__}"] += 1

    def hang() -> None:
        for part in (b"POST /v1/express HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 90000\r\n",):
            misbehave(address, part, end, pause=20)

    def rave() -> None:
        misbehave(address, os.urandom(2000), end, pause=1)

    threads = [threading.Thread(target=in_turn, args=(first,)) for first in range(4)]
    threads += [threading.Thread(target=hang), threading.Thread(target=rave)]
    for thread in threads:
        thread.start()
    time.sleep(seconds / 10)
    before = resident_mb(process)
    for thread in threads:
        thread.join()
    time.sleep(2)
    after = resident_mb(process)
    for name, count in sorted(statuses.items()):
        print(f"  {name}: {count}")
    left = [path for path in temporary.rglob("*") if path.is_file()]
    print(
        f"soak of {seconds:.0f} s: memory {before:.0f} MB after a tenth, {after:.0f} MB at the end "
        f"({100 * (after / before - 1):+.1f} %); {sum(statuses.values())} requests, "
        f"{sum(n for name, n in statuses.items() if 'LOST' in name)} lost; "
        f"left while it runs: {sorted({path.name for path in left}) or 'nothing'}"
    )


def misbehave(address: str, said: bytes, end: float, pause: float) -> None:
    """Say something that is no request, wait, hang up, and again."""
    host, port = re.findall(r"//([^:/]+):(\d+)/", address)[0]
    while time.perf_counter() < end:
        try:
            with socket.create_connection((host, int(port)), timeout=5) as line:
                line.sendall(said)
                time.sleep(min(pause, max(0.0, end - time.perf_counter())))
        except OSError:
            time.sleep(0.1)


def resident_mb(process: int) -> float:
    text = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    return int(re.findall(r"VmRSS:\s+(\d+)", text)[0]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=30, help="of each load")
    parser.add_argument("--soak", type=float, default=0, help="seconds; 0 leaves it out")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        temporary = Path(folder) / "service"
        temporary.mkdir()
        photo = photo_640x480(Path(folder))
        with service(temporary) as (address, process):
            with httpx.Client(base_url=address, timeout=90) as client:
                express(photo)(client)  # weights are read once
            print(AIMS)
            load(address, photo, CLIENTS, given.seconds)
            load(address, photo, TOO_MANY, given.seconds)
            if given.soak:
                soak(address, process, photo, temporary, given.soak)
        left = [str(path.relative_to(temporary)) for path in temporary.rglob("*")]
        print(f"left behind when it has stopped: {left or 'nothing'}")


if __name__ == "__main__":
    main()
