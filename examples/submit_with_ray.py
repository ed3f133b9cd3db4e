"""Submit a training job with Ray's own client, past the API, and follow it to its end.

    source .quantis/run/env          # address and token of the running head; `quantis up` writes it
    python examples/submit_with_ray.py jobs/configs/demo.yaml

The job records itself, so it shows on the dashboard and its model lands in the same registry.
"""

from __future__ import annotations

import sys
import time

from ray.job_submission import JobStatus, JobSubmissionClient


def main(config: str) -> int:
    client = JobSubmissionClient()
    submission = client.submit_job(entrypoint=f"{sys.executable} -m jobs.train --config {config}")
    print(f"submitted {submission}")
    while not (status := client.get_job_status(submission)).is_terminal():
        time.sleep(1)
    print(client.get_job_logs(submission).splitlines()[-1])
    return 0 if status == JobStatus.SUCCEEDED else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
