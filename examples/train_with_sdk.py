"""Train and forecast with the SDK, against a platform that runs.

    quantis demo                                                    # or `quantis up`
    python examples/train_with_sdk.py .quantis/demo-login.json

The argument is a private JSON file with `user_name` and `password`; the server is QUANTIS_URL, or this
machine. Uploads the weekly CO2 over Mauna Loa as monthly means (a public data set that comes with
statsmodels), compares seasonal naive with gradient boosting, prints the leaderboard and a forecast.
"""

from __future__ import annotations

import sys

import pandas as pd
import statsmodels.api as sm

from quantis import Client, forecast_frame
from quantis.errors import NotFound
from quantis.types.datasets import DatasetSpec
from quantis.types.job_specs import Family, TrainSpec
from quantis.types.jobs import JobState

NAME = "co2-monthly"  # of the dataset and of the model
H = 12  # months


def co2_csv() -> bytes:
    """A panel of one series: unique_id, ds, y (ppm)."""
    weekly = sm.datasets.co2.load_pandas().data["co2"]
    monthly = weekly.resample("MS").mean().interpolate()
    frame = pd.DataFrame({"unique_id": "mauna-loa", "ds": monthly.index, "y": monthly.to_numpy().round(3)})
    return frame.to_csv(index=False).encode()


def upload(client: Client) -> None:
    try:
        client.dataset(NAME)
    except NotFound:
        client.create_dataset(
            DatasetSpec(name=NAME, freq="MS", description="CO2 over Mauna Loa, monthly means")
        )
    result = client.upload(NAME, co2_csv(), file="co2.csv")
    state = "stored" if result.created else "was there already"
    print(f"{NAME} version {result.version.number}, {result.version.rows} months: {state}")


def train(client: Client) -> str:
    """Train, show who won, and give the reference of the new version."""
    families = (Family.seasonal_naive, Family.boosting)
    job = client.submit(TrainSpec(dataset=NAME, model=NAME, h=H, families=families))
    job = client.wait(job.id, on_event=lambda event: print(f"  {event.kind}: {event.message}"), timeout=280)
    if job.state is not JobState.succeeded:
        sys.exit(f"job {job.id} {job.state.value}: {job.message}\n{client.logs(job.id)[-2000:]}")
    for row in client.leaderboard(job.id).rows:
        score = "failed" if row.mase is None else f"MASE {row.mase:.3f}"
        print(f"{row.rank}. {row.model:<24} {score}{'  <- chosen' if row.chosen else ''}")
    return f"{NAME}:{max(version.version for version in client.model_versions(NAME))}"


def main(login_file: str) -> None:
    with Client.from_login_file(login_file) as client:
        upload(client)
        response = client.forecast(train(client), "mauna-loa", level=[80])
    frame = forecast_frame(response, name=response.model.family, origins=False)
    print(frame.to_pandas().round(2).to_string(index=False))


if __name__ == "__main__":
    main(sys.argv[1])
