from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from monitoring import instruments
from quantis import __version__
from quantis.errors import Unavailable
from quantis.types.jobs import JOB_KINDS

ROOT = Path(__file__).parents[2]
HEADER = """
import os, sys, time
from pathlib import Path
from monitoring import instruments as i
from quantis.types.operations.alerts import Fact
i.configure(Path(sys.argv[1]))
"""
EVERYTHING = """
i.observe_request("/v1/jobs/{id}", "GET", 200, 0.02)
i.count_entry("demand", "seasonal_naive", "short_history", 3)
i.count_entry("demand", "model", None, 17)
i.observe_forecast("demand", 20, 0.4)
i.count_vintages(2)
i.count_model_load("demand", "ok")
i.set_jobs({("RUNNING", "train"): 1})
i.observe_job("train", "SUCCEEDED", 80.0)
i.set_outbox(2)
i.set_lease(True)
i.count_tick("ok")
i.count_upload("created")
i.count_rows(1000)
i.count_sign_in("refused")
i.set_fact("default", Fact(name="drift", value=0.3, at="2026-03-02T00:00Z", model="demand"))
i.set_alerts({("open", "warning"): 2})
i.count_notification("webhook", "delivered")
i.set_pending_notifications(1)
"""
NAMES = {
    "quantis_http_requests_total", "quantis_http_request_seconds", "quantis_forecast_entries_total",
    "quantis_forecast_seconds", "quantis_forecast_series", "quantis_vintages_written_total",
    "quantis_model_loads_total", "quantis_jobs", "quantis_job_seconds", "quantis_outbox_pending",
    "quantis_reconciler_lease_held", "quantis_reconciler_ticks_total", "quantis_uploads_total",
    "quantis_rows_ingested_total", "quantis_sign_ins_total", "quantis_build_info", "quantis_fact",
    "quantis_alerts", "quantis_notifications_total", "quantis_notifications_pending",
}  # fmt: skip


def start(folder: Path, body: str, *, shared: bool = True, header: str = HEADER) -> subprocess.Popen[str]:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    if shared:
        environment["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
    return subprocess.Popen(
        [sys.executable, "-c", header + body, str(folder)],
        env=environment, cwd=folder, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )  # fmt: skip


def finish(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return out


def scrape(folder: Path) -> dict[str, float]:
    text = finish(start(folder, "print(i.render()[0].decode())"))
    return {
        line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
        for line in text.splitlines()
        if line and not line.startswith("#")
    }


def wait_ready(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "ready"


def test_when_every_instrument_is_used_then_the_node_shows_exactly_the_declared_names(tmp_path: Path) -> None:
    text = finish(start(tmp_path, EVERYTHING + "print(i.render()[0].decode())"))
    assert set(re.findall(r"^# TYPE (\S+)", text, re.M)) == NAMES


def test_when_a_process_joins_then_the_scrape_names_what_runs(tmp_path: Path) -> None:
    worker = start(tmp_path, "print('ready', flush=True); sys.stdin.read()")
    wait_ready(worker)
    seen = [name for name in scrape(tmp_path) if name.startswith("quantis_build_info")]
    assert seen == [f'quantis_build_info{{ray_version="{version("ray")}",version="{__version__}"}}']
    finish(worker)


def test_when_three_processes_count_then_one_scrape_has_their_sum(tmp_path: Path) -> None:
    workers = [start(tmp_path, EVERYTHING) for _ in range(3)]
    for worker in workers:
        finish(worker)
    seen = scrape(tmp_path)
    assert seen['quantis_forecast_entries_total{method="model",model="demand",reason="none"}'] == 51
    assert seen["quantis_rows_ingested_total"] == 3000
    assert seen['quantis_http_request_seconds_bucket{le="0.025",route="/v1/jobs/{id}"}'] == 3
    assert seen['quantis_http_request_seconds_bucket{le="0.01",route="/v1/jobs/{id}"}'] == 0
    assert seen['quantis_http_request_seconds_count{route="/v1/jobs/{id}"}'] == 3


def test_when_a_process_is_killed_then_its_counts_stay_and_its_gauges_go(tmp_path: Path) -> None:
    worker = start(tmp_path, EVERYTHING + "print('ready', flush=True); time.sleep(60)")
    wait_ready(worker)
    alive = scrape(tmp_path)
    assert alive["quantis_outbox_pending"] == 2
    assert alive["quantis_reconciler_lease_held"] == 1
    worker.send_signal(signal.SIGKILL)
    worker.communicate(timeout=60)
    after = scrape(tmp_path)
    assert "quantis_outbox_pending" not in after
    assert not any(name.startswith("quantis_jobs{") for name in after)
    assert after.get("quantis_reconciler_lease_held", 0) == 0
    assert after["quantis_rows_ingested_total"] == 1000


def test_when_two_processes_set_a_gauge_then_the_later_value_is_shown(tmp_path: Path) -> None:
    first = start(tmp_path, "i.set_outbox(7); print('ready', flush=True); sys.stdin.read()")
    wait_ready(first)
    second = start(tmp_path, "i.set_outbox(4); print('ready', flush=True); sys.stdin.read()")
    wait_ready(second)
    assert scrape(tmp_path)["quantis_outbox_pending"] == 4
    finish(first)
    finish(second)


def test_when_jobs_leave_a_state_then_its_gauge_falls_to_zero(tmp_path: Path) -> None:
    body = (
        "i.set_jobs({('RUNNING', 'train'): 2}); i.set_jobs({('SUCCEEDED', 'train'): 2});"
        "print(i.render()[0].decode())"
    )
    text = finish(start(tmp_path, body))
    assert 'quantis_jobs{kind="train",state="RUNNING"} 0.0' in text
    assert 'quantis_jobs{kind="train",state="SUCCEEDED"} 2.0' in text


def test_when_another_library_writes_to_the_folder_then_the_scrape_leaves_it_out(tmp_path: Path) -> None:
    body = "import prometheus_client as p; p.Counter('alien', 'x').inc(); i.count_rows(1)"
    finish(start(tmp_path, body))
    seen = scrape(tmp_path)
    assert seen["quantis_rows_ingested_total"] == 1
    assert not [name for name in seen if not name.startswith("quantis_")]


def test_when_a_client_invents_methods_then_the_labels_stay_few(tmp_path: Path) -> None:
    body = (
        "[i.observe_request('unknown', f'M{n}', 405, 0.1) for n in range(50)];print(i.render()[0].decode())"
    )
    text = finish(start(tmp_path, body))
    assert re.findall(r"^quantis_http_requests_total\{(.*)\} (.*)$", text, re.M) == [
        ('method="OTHER",route="unknown",status="405"', "50.0")
    ]


def test_when_threads_race_for_the_first_use_then_no_count_is_lost(tmp_path: Path) -> None:
    body = """
import threading
gate = threading.Barrier(8)
def work():
    gate.wait()
    for _ in range(500): i.count_rows(1)
threads = [threading.Thread(target=work) for _ in range(8)]
[t.start() for t in threads]; [t.join() for t in threads]
"""
    finish(start(tmp_path, body))
    assert scrape(tmp_path)["quantis_rows_ingested_total"] == 4000


def test_when_a_process_lacks_the_variable_then_configure_says_what_to_do(tmp_path: Path) -> None:
    process = start(tmp_path, "", shared=False)
    _, error = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "start the process with PROMETHEUS_MULTIPROC_DIR=" in error


def test_when_a_process_is_not_configured_then_it_counts_for_itself() -> None:
    before = instruments.render()[0].decode()
    instruments.count_rows(5)
    after, kind = instruments.render()
    assert kind.startswith("text/plain")
    assert _rows(after.decode()) == _rows(before) + 5
    with pytest.raises(Unavailable, match="PROMETHEUS_MULTIPROC_DIR"):
        instruments.configure(Path("/nowhere"))


def test_when_the_folder_is_cleared_then_counts_start_from_zero(tmp_path: Path) -> None:
    finish(start(tmp_path, "i.count_rows(5)"))
    instruments.clear(tmp_path)
    assert scrape(tmp_path)["quantis_rows_ingested_total"] == 0


def test_when_the_module_is_imported_then_nothing_is_registered_or_written(tmp_path: Path) -> None:
    code = "import monitoring.instruments, monitoring.logs, prometheus_client as p\n"
    code += "print([m.name for m in p.REGISTRY.collect() if m.name.startswith('quantis')])"
    out = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True, text=True,
        env={"PYTHONPATH": str(ROOT), "PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "none")},
    ).stdout  # fmt: skip
    assert out.strip() == "[]"
    assert list(tmp_path.iterdir()) == []


def _rows(text: str) -> float:
    found = re.search(r"^quantis_rows_ingested_total (\S+)$", text, re.M)
    assert found
    return float(found[1])


def test_when_nothing_failed_yet_then_the_counters_of_failures_are_there_at_zero(tmp_path: Path) -> None:
    body = """
i.declare_routes([("GET", "/v1/jobs/{id}")], (500, 503))
i.declare_model("demand")
print(i.render()[0].decode())
"""
    text = finish(start(tmp_path, body))
    for line in (
        'quantis_http_requests_total{method="GET",route="/v1/jobs/{id}",status="500"} 0.0',
        'quantis_http_requests_total{method="GET",route="/v1/jobs/{id}",status="503"} 0.0',
        'quantis_model_loads_total{model="demand",outcome="failed"} 0.0',
        'quantis_model_loads_total{model="demand",outcome="ok"} 0.0',
        *(f'quantis_job_seconds_count{{kind="{kind}",state="FAILED"}} 0.0' for kind in JOB_KINDS),
    ):
        assert f"\n{line}\n" in text, line


def test_when_a_stream_of_events_ends_then_it_is_counted_but_is_no_latency(tmp_path: Path) -> None:
    body = """
i.observe_request("/v1/jobs/{id}/events", "GET", 200, None)
i.observe_request("/v1/jobs/{id}", "GET", 200, 0.1)
print(i.render()[0].decode())
"""
    text = finish(start(tmp_path, body))
    assert 'quantis_http_requests_total{method="GET",route="/v1/jobs/{id}/events",status="200"} 1.0' in text
    assert re.findall(r"^quantis_http_request_seconds_count(.*)$", text, re.M) == [
        '{route="/v1/jobs/{id}"} 1.0'
    ]


LEADER = (
    "i.set_lease(True); i.set_jobs({('RUNNING', 'train'): 3}); i.set_outbox(5); print('ready', flush=True);"
)


def leaders(seen: dict[str, float]) -> dict[str, float]:
    """The gauges that only a leader knows, and that it leads."""
    return {
        name.partition("{")[0]: value
        for name, value in seen.items()
        if name.startswith(("quantis_jobs{", "quantis_outbox", "quantis_reconciler_lease")) and value
    }


def test_when_a_leader_loses_its_lease_then_its_gauges_go(tmp_path: Path) -> None:
    worker = start(
        tmp_path,
        LEADER + "sys.stdin.readline(); i.set_lease(False); i.set_lease(False);"
        "print('ready', flush=True); sys.stdin.read()",
    )
    wait_ready(worker)
    assert leaders(scrape(tmp_path)) == {
        "quantis_jobs": 3, "quantis_outbox_pending": 5, "quantis_reconciler_lease_held": 1,
    }  # fmt: skip
    assert worker.stdin is not None
    worker.stdin.write("\n")
    worker.stdin.flush()
    wait_ready(worker)
    after = scrape(tmp_path)
    assert leaders(after) == {}
    assert not [name for name in after if name.startswith(("quantis_jobs{", "quantis_outbox"))]
    finish(worker)


def test_when_a_process_counts_for_itself_then_gauges_of_a_lost_lease_go_too(tmp_path: Path) -> None:
    body = LEADER + "i.set_lease(False); print(i.render()[0].decode()); "
    code = body.replace("i.", "instruments.") + "\n"
    done = subprocess.run(
        [sys.executable, "-c", "from monitoring import instruments\n" + code],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "\nquantis_jobs{" not in done.stdout
    assert "\nquantis_outbox_pending " not in done.stdout
    assert "\nquantis_reconciler_lease_held 0.0\n" in done.stdout


def test_when_the_lease_goes_to_another_process_of_the_node_then_that_ones_gauges_are_shown(
    tmp_path: Path,
) -> None:
    first = start(tmp_path, LEADER + "i.set_lease(False); print('ready', flush=True); sys.stdin.read()")
    wait_ready(first)
    wait_ready(first)
    second = start(tmp_path, LEADER.replace("5", "2") + "sys.stdin.read()")
    wait_ready(second)
    assert leaders(scrape(tmp_path)) == {
        "quantis_jobs": 3, "quantis_outbox_pending": 2, "quantis_reconciler_lease_held": 1,
    }  # fmt: skip
    finish(first)
    finish(second)


def test_when_a_pid_is_given_anew_then_the_gauges_of_its_former_owner_are_not_revived(tmp_path: Path) -> None:
    """A container that restarts counts its pids from the same numbers; its volume of metrics stays."""
    worker = start(tmp_path, "i.count_rows(7);" + LEADER + "sys.stdin.read()")
    wait_ready(worker)
    worker.kill()
    worker.communicate(timeout=60)
    own = f"f.name.replace('_{worker.pid}.', '_' + str(os.getpid()) + '.')"
    inherit = f"[f.rename(f.with_name({own})) for f in Path(sys.argv[1]).glob('*.db')]\n"
    heir = start(
        tmp_path,
        "print('ready', flush=True); sys.stdin.read()",
        header=HEADER.replace("i.configure", inherit + "i.configure"),
    )
    wait_ready(heir)
    seen = scrape(tmp_path)
    assert leaders(seen) == {}
    assert seen["quantis_rows_ingested_total"] == 7
    finish(heir)
