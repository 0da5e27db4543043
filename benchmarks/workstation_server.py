"""The workstation's server at work: first slice, drag, radiograph slider, many clients, made-up requests, probes.

    python benchmarks/workstation_server.py CASES_DIR [--examples N]

CASES_DIR holds finished cases (`sacroplasty demo`, `sacroplasty run`); they are copied, never changed. Times are those
of one request over HTTP; `processor` is what the server itself spent on it, which a busy machine hardly changes; `load`
is the machine's load average of the minute before. Writes workstation_server.csv.
"""

from __future__ import annotations

import argparse
import csv
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
OUT = Path(__file__).with_suffix(".csv")
CLIENTS, REQUESTS, REPEATS = 100, 10, 25
Row = dict[str, Any]


class Server:
    """`sacroplasty serve` as a user starts it."""

    def __init__(self, cases: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "sacroplasty", "serve", str(cases)], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        found = re.search(r"(http://[^/]+)/\?token=(\S+)", line)
        assert found, line
        self.address = found[1]
        self.client = self.new_client()
        self.client.get("/", params={"token": found[2]})
        self.cookies = dict(self.client.cookies)

    def new_client(self) -> httpx.Client:
        return httpx.Client(base_url=self.address, timeout=300)

    def processor_s(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=30)


def timed(server: Server, ask: Callable[[int], httpx.Response], repeats: int = REPEATS) -> tuple[float, float, float]:
    """Median and 95th percentile over HTTP, and processor time, all in ms per request."""
    walls, before = [], server.processor_s()
    for n in range(repeats):
        begun = time.perf_counter()
        answer = ask(n)
        walls.append(1000 * (time.perf_counter() - begun))
        assert answer.status_code == 200, answer.text
    spent = 1000 * (server.processor_s() - before) / repeats
    return statistics.median(walls), sorted(walls)[int(0.95 * (repeats - 1))], spent


def first_slice(server: Server, case: str) -> tuple[float, float]:
    """From opening a case to the coarse CT in the page, ms over HTTP and of the processor."""
    begun, before = time.perf_counter(), server.processor_s()
    server.client.get(f"/api/cases/{case}")
    image = server.client.get(f"/api/cases/{case}/images/ct").json()
    server.client.get(image["levels"][-1]["url"])
    return 1000 * (time.perf_counter() - begun), 1000 * (server.processor_s() - before)


def interactive(server: Server, case: str) -> list[Row]:
    """Drag and slider on a case that is warm."""
    plans = server.client.get(f"/api/cases/{case}/plans").json()
    plan = plans["plans"][plans["chosen"]]
    path = plan["needles"][0]["trajectory"]
    x, y, z = path["entry_mm"]
    url = f"/api/cases/{case}"

    def drag(n: int) -> httpx.Response:
        body = {"approach": plan["approach"], "entry_mm": [x, y, z + 0.2 * n], "target_mm": path["target_mm"]}
        return server.client.post(f"{url}/paths", json=body)

    def slide(n: int) -> httpx.Response:
        query = {"lao_deg": n, "cra_deg": 10, "size": 256, "plan": 1}
        return server.client.get(f"{url}/radiograph.png", params=query)

    def outline(n: int) -> httpx.Response:
        return server.client.get(f"{url}/radiograph.json", params={"lao_deg": n, "cra_deg": 10, "plan": 1})

    rows = []
    for name, ask, bar in (
        ("drag update", drag, 100),
        ("radiograph 256 x 256", slide, 150),
        ("overlays", outline, 150),
    ):
        for warming in range(3):
            ask(-1 - warming)
        median, high, spent = timed(server, ask)
        rows += [
            {"case": case, "figure": f"{name}, median", "unit": "ms", "value": round(median, 1), "bar": bar},
            {"case": case, "figure": f"{name}, 95th percentile", "unit": "ms", "value": round(high, 1), "bar": ""},
            {"case": case, "figure": f"{name}, processor", "unit": "ms", "value": round(spent, 1), "bar": bar},
        ]
    return rows


def crowd(server: Server, case: str) -> list[Row]:
    """Many clients at once, each with a mixture of looking, dragging, sliding and one plan."""
    plans = server.client.get(f"/api/cases/{case}/plans").json()["plans"]
    path = plans[0]["needles"][0]["trajectory"]
    body = {"approach": plans[0]["approach"], **path}
    url = f"/api/cases/{case}"

    wanted = {"If-Match": server.client.get(url).headers["etag"]}

    def visit(number: int) -> list[tuple[str, int, float]]:
        with httpx.Client(base_url=server.address, timeout=600, cookies=server.cookies) as one:
            asks: list[tuple[str, Callable[[], httpx.Response]]] = [
                ("list", lambda: one.get("/api/cases")), ("case", lambda: one.get(url)),
                ("slices", lambda: one.get(f"{url}/images/ct/1")),
                ("surface", lambda: one.get(f"{url}/surfaces/sacrum")),
                ("plans", lambda: one.get(f"{url}/plans")), ("path", lambda: one.post(f"{url}/paths", json=body)),
                ("picture", lambda: one.get(f"{url}/radiograph.png", params={"size": 128, "lao_deg": number % 90})),
                ("anatomy", lambda: one.get(f"{url}/anatomy")), ("facts", lambda: one.get(f"{url}/facts")),
                ("plan", lambda: one.post(f"{url}/stages/views", headers=wanted)),
            ]  # fmt: skip
            found = []
            for name, ask in asks[:REQUESTS]:
                begun = time.perf_counter()
                found.append((name, ask().status_code, 1000 * (time.perf_counter() - begun)))
            return found

    begun, before = time.perf_counter(), server.processor_s()
    with ThreadPoolExecutor(CLIENTS) as pool:
        answers = [answer for visited in pool.map(visit, range(CLIENTS)) for answer in visited]
    seconds, spent = time.perf_counter() - begun, server.processor_s() - before
    codes = Counter(code for _, code, _ in answers)
    pages = sorted(wall for name, _, wall in answers if name == "list")
    slices = sorted(wall for name, _, wall in answers if name == "slices")
    failed = sum(n for code, n in codes.items() if code >= 500)
    figures = [
        ("answers", "1", len(answers), CLIENTS * REQUESTS), ("server errors", "1", failed, 0),
        ("answers 200 or 202", "1", codes[200] + codes[202], ""),
        ("answers 409 or 429", "1", codes[409] + codes[429], ""),
        ("list, 99th percentile", "ms", round(pages[98]), 2000),
        ("slices, 99th percentile", "ms", round(slices[98]), 1000),
        ("whole run", "s", round(seconds, 1), ""), ("processor", "s", round(spent, 1), ""),
    ]  # fmt: skip
    label = f"{CLIENTS} clients x {REQUESTS}"
    return [{"case": case, "figure": f"{label}: {n}", "unit": u, "value": v, "bar": b} for n, u, v, b in figures]


def made_up(cases: Path, case: str, examples: int) -> list[Row]:
    """Requests generated from the published contract, valid and invalid, on a case in every state, by schemathesis."""
    import schemathesis
    from tests.workstation.fuzzing import Fuzzed

    with TemporaryDirectory() as folder:
        fuzzed = Fuzzed(cases / case, Path(folder) / "cases", case, number=examples)
        for mode in schemathesis.GenerationMode:
            fuzzed.run(examples, mode)
    for broken in fuzzed.broken:
        print("broken:", *broken)
    figures = [
        ("operations", len(fuzzed.operations), ""), ("requests", fuzzed.codes.total(), ""),
        ("answers 200 to 202", sum(n for code, n in fuzzed.codes.items() if code < 300), ""),
        ("server errors", sum(n for code, n in fuzzed.codes.items() if code >= 500), 0),
    ]  # fmt: skip
    return [{"case": case, "figure": f"schemathesis: {n}", "unit": "1", "value": v, "bar": b} for n, v, b in figures]


def declared(server: Server, path: str, length: int) -> int:
    """The answer to a body of which only the length is sent."""
    address = httpx.URL(server.address)
    link = HTTPConnection(address.host, address.port or 80, timeout=60)
    link.putrequest("PUT", path)
    link.putheader("Cookie", "; ".join(f"{name}={value}" for name, value in server.cookies.items()))
    link.putheader("Content-Length", str(length))
    link.endheaders()
    with closing(link):
        return link.getresponse().status


def probes(server: Server, case: str) -> list[Row]:
    """Requests that must be refused, and how many were."""
    own = httpx.Client(base_url=server.address, timeout=60, cookies=server.cookies)
    bare = httpx.Client(base_url=server.address, timeout=60)
    url, port = f"/api/cases/{case}", httpx.URL(server.address).port
    hosts = ["evil.example", f"evil.example:{port}", "127.0.0.1:1", f"127.0.0.1.evil.example:{port}", f"0.0.0.0:{port}"]
    origins = [
        "http://evil.example",
        "null",
        f"https://127.0.0.1:{port}",
        "file://",
        f"http://127.0.0.1:{(port or 0) + 1}",
    ]
    paths = ["..", "..%2f..%2fetc", "%2e%2e%2f", ".workstation", "toy%00", "%5c..%5c", "....//", "/etc/passwd"]
    uploaded = "/api/uploads/0000000000000000/files/0"
    refused = {
        "Host": [own.get(url, headers={"host": host}).status_code == 421 for host in hosts],
        "Origin": [own.get(url, headers={"origin": origin}).status_code == 403 for origin in origins],
        "session": [bare.get(p).status_code == 401 for p in ("/", "/api/cases", url, "/api/openapi.json")],
        "traversal": [own.get(f"/api/cases/{path}/report.html").status_code in {404, 405, 422} for path in paths],
        "oversized body": [declared(server, path, 3 << 30) == 413 for path in (f"{url}/facts", uploaded)],
    }  # fmt: skip
    return [
        {"case": case, "figure": f"probe of {name}: refused", "unit": "1", "value": sum(hits), "bar": len(hits)}
        for name, hits in refused.items()
    ]


def measured(copy: Path, rows: list[Row]) -> None:
    """Every figure of the server over a copy of the cases; each row says how busy the machine was before it."""
    names = sorted(path.parent.name for path in copy.glob("*/case.json"))
    server = Server(copy)

    def add(found: list[Row], load: float) -> None:
        rows.extend({**row, "load": round(load, 1)} for row in found)

    try:
        for case in names:
            for words in ("never opened", "opened before"):
                load = os.getloadavg()[0]
                wall, spent = first_slice(server, case)
                figure = {
                    "case": case,
                    "figure": f"first slice, {words}",
                    "unit": "ms",
                    "value": round(wall),
                    "bar": 3000,
                }
                processor = {**figure, "figure": f"first slice, {words}, processor", "value": round(spent)}
                add([figure, processor], load)
            load = os.getloadavg()[0]
            add(interactive(server, case), load)
        load = os.getloadavg()[0]
        add(crowd(server, names[-1]), load)
        add(probes(server, names[-1]), os.getloadavg()[0])
    finally:
        server.close()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("cases", type=Path)
    parser.add_argument("--examples", type=int, default=20)
    given = parser.parse_args()
    rows: list[Row] = []
    with TemporaryDirectory() as folder:
        copy = Path(folder) / "cases"
        shutil.copytree(given.cases, copy, ignore=shutil.ignore_patterns(".workstation", "registry.sqlite*"))
        measured(copy, rows)
        for case in sorted(path.parent.name for path in copy.glob("*/case.json")):
            load = os.getloadavg()[0]
            rows += [{**row, "load": round(load, 1)} for row in made_up(copy, case, given.examples)]
    with OUT.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, ["case", "figure", "unit", "value", "bar", "load"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    for row in rows:
        told = f"{row['value']:>10} {row['unit']:3s} bar {row['bar']}"
        print(f"{row['case']:10s} {row['figure']:52s} {told:24s} load {row['load']}")


if __name__ == "__main__":
    main()
