import { screen, waitFor, within } from "@testing-library/react";
import { HttpResponse, http } from "msw";
import { expect, test, vi } from "vitest";
import { renderPage } from "../../testing/render";
import { at, get, page, problem, server } from "../../testing/server";
import { signIn } from "../../testing/signed-in";
import { Component as JobPage } from "./detail";
import { Component as TrainPage } from "./train";

const DATASET = {
  name: "flights",
  latest_version: 1,
  roles: { futr_exog: ["scheduled"], hist_exog: [], stat_exog: [], categorical: [] },
};
const SPEC = {
  kind: "train",
  dataset: "flights",
  version: null,
  as_of: null,
  model: "demand",
  h: 24,
  families: ["tft"],
  n_windows: 2,
  tft: { steps: 200, hidden_size: 16 },
};
const JOB = {
  id: "j1",
  kind: "train",
  state: "RUNNING",
  spec: SPEC,
  created_at: "2026-11-23T06:00:00Z",
  created_by: "ada",
  started_at: "2026-11-23T06:00:02Z",
  ended_at: null,
  progress: 0.4,
  message: "read the panel",
  result: null,
};

test("when a job failed, then cause and remedy are read at once, and what the machine said on request", async () => {
  const error = {
    cause: "The worker ran out of memory (limit 2.0 GiB).",
    remedy: "Train with fewer series.",
    details: "Traceback of pid 7",
  };
  const failed = { ...JOB, state: "FAILED", message: `${error.cause} ${error.remedy}`, error };
  const stream = { headers: { "Content-Type": "text/event-stream" } };
  server.use(
    get("/v1/jobs/j1", failed),
    http.get(at("/v1/jobs/j1/events"), () => new HttpResponse("", stream)),
  );
  const { user } = renderPage(JobPage, "/jobs/:id", "/jobs/j1");
  const notice = (await screen.findByText("The job failed")).closest(".notice") as HTMLElement;
  expect(within(notice).getByText(error.cause)).toBeVisible();
  expect(within(notice).getByText(error.remedy)).toBeVisible();
  expect(within(notice).getByText(error.details)).not.toBeVisible();
  await user.click(within(notice).getByText("Details"));
  expect(within(notice).getByText(error.details)).toBeVisible();
});

test("when the form is sent, then one job is asked for, with what was chosen and a key", async () => {
  const requests: { body: unknown; key: string | null }[] = [];
  server.use(
    get("/v1/datasets", page([DATASET])),
    get("/v1/datasets/flights", DATASET),
    http.post(at("/v1/jobs"), async ({ request }) => {
      requests.push({ body: await request.json(), key: request.headers.get("Idempotency-Key") });
      if (requests.length === 1) return HttpResponse.error();
      return HttpResponse.json(JOB, { status: 202 });
    }),
  );
  const { user, router } = renderPage(TrainPage, "/jobs/new", "/jobs/new?dataset=flights");
  await user.type(await screen.findByLabelText("Model name"), "demand");
  await user.click(screen.getByRole("radio", { name: /My own choice/ }));
  await user.click(screen.getByRole("checkbox", { name: /Statistical/ }));
  await user.click(await screen.findByRole("checkbox", { name: "scheduled" }));
  await user.type(screen.getByLabelText("Backtest windows"), "3");
  await user.type(screen.getByLabelText("Time limit (minutes)"), "5");
  await user.type(screen.getByLabelText("Steps (the budget)"), "50");
  await user.type(screen.getByLabelText("Learning rate"), "0.01");
  await user.click(screen.getByRole("button", { name: "Start training" }));
  await screen.findByRole("alert");
  await user.click(screen.getByRole("button", { name: "Start training" }));
  await screen.findByText("elsewhere");

  expect(router.state.location.pathname).toBe("/jobs/j1");
  expect(requests).toHaveLength(2);
  expect(requests[0]?.key).toMatch(/^[0-9a-f]{32}$/);
  expect(requests[1]?.key).toBe(requests[0]?.key);
  expect(requests[1]?.body).toEqual({
    spec: {
      kind: "train",
      dataset: "flights",
      model: "demand",
      as_of: null,
      h: 24,
      time_limit: "PT5M",
      families: [
        "seasonal_naive",
        "theta",
        "boosting",
        "boosting_recent",
        "boosting_plain",
        "tft",
        "ensemble",
      ],
      n_windows: 3,
      baselines: ["scheduled"],
      tft: { steps: 50, learning_rate: 0.01 },
    },
  });
});

test("when a preset is chosen, then only its name is sent: the platform knows its families and its time", async () => {
  const requests: unknown[] = [];
  server.use(
    get("/v1/datasets", page([DATASET])),
    get("/v1/datasets/flights", DATASET),
    http.post(at("/v1/jobs"), async ({ request }) => {
      requests.push(await request.json());
      return HttpResponse.json(JOB, { status: 202 });
    }),
  );
  const { user } = renderPage(TrainPage, "/jobs/new", "/jobs/new");
  await user.type(await screen.findByLabelText("Model name"), "demand");
  expect(screen.getByRole("radio", { name: /Balanced/ })).toBeChecked();
  expect(screen.queryByRole("group", { name: "Families" })).not.toBeInTheDocument();
  await user.click(screen.getByRole("radio", { name: /Fast/ }));
  await user.click(screen.getByRole("button", { name: "Start training" }));
  await screen.findByText("elsewhere");
  expect(requests).toEqual([
    {
      spec: {
        kind: "train",
        dataset: "flights",
        model: "demand",
        as_of: null,
        h: 24,
        preset: "fast",
        baselines: [],
        tft: {},
      },
    },
  ]);
});

test("when a job runs to its end, then its page shows the steps, the figures and the way to the leaderboard", async () => {
  const event = (seq: number, kind: string, message: string, data: object = {}) =>
    `id: ${seq}\nevent: ${kind}\ndata: ${JSON.stringify({ seq, at: "2026-11-23T06:00:03Z", kind, message, data })}\n\n`;
  const requests: (string | null)[] = [];
  const gate = { passed: true, reason: "boosting: MASE 0.641 against 0.912" };
  const done = {
    ...JOB,
    state: "SUCCEEDED",
    progress: 1,
    message: "done",
    ended_at: "2026-11-23T06:01:02Z",
    result: { gate },
  };
  let now: object = JOB;
  server.use(
    http.get(at("/v1/jobs/j1"), () => HttpResponse.json(now)),
    http.get(at("/v1/jobs/j1/events"), ({ request }) => {
      requests.push(request.headers.get("Last-Event-ID"));
      const type = { headers: { "Content-Type": "text/event-stream" } };
      if (requests.length === 1) return new HttpResponse(event(1, "progress", "read the panel"), type);
      now = done;
      const rest =
        event(2, "step", "read the panel", { seconds: 2 }) + event(3, "metric", "boosting", { mase: 0.641 });
      return new HttpResponse(rest + event(4, "state", "done", { state: "SUCCEEDED" }), type);
    }),
  );
  renderPage(JobPage, "/jobs/:id", "/jobs/j1");
  expect(await screen.findByRole("link", { name: "Leaderboard" }, { timeout: 4000 })).toHaveAttribute(
    "href",
    "/experiments/j1",
  );
  expect(requests).toEqual([null, "1"]);
  expect(within(screen.getByRole("list", { name: "Steps" })).getByRole("listitem")).toHaveTextContent(
    "read the panel2.0 s",
  );
  expect(screen.getByRole("row", { name: "boosting 0.641" })).toBeInTheDocument();
  expect(screen.getByText(gate.reason)).toBeInTheDocument();
  expect(screen.getByRole("progressbar")).toHaveAttribute("aria-valuenow", "100");
});

test("when the platform restarts meanwhile, then the page goes on following the job", async () => {
  const done = { ...JOB, state: "SUCCEEDED", progress: 1, message: "done", result: null };
  let asked = 0;
  let streams = 0;
  server.use(
    http.get(at("/v1/jobs/j1"), () => {
      asked += 1;
      if (streams === 0) return HttpResponse.json(JOB);
      return streams === 1 ? problem(503, "Unavailable", "try again in a moment") : HttpResponse.json(done);
    }),
    http.get(at("/v1/jobs/j1/events"), () => {
      streams += 1;
      return problem(503, "Unavailable", "try again in a moment");
    }),
  );
  renderPage(JobPage, "/jobs/:id", "/jobs/j1");
  await screen.findByRole("link", { name: "Leaderboard" }, { timeout: 10_000 });
  expect(streams).toBe(2);
  expect(asked).toBeGreaterThan(2);
}, 20_000);

test("when a batch forecast has ended, then its page offers the forecasts as a file of each kind", async () => {
  const accepted: (string | null)[] = [];
  const saved: string[] = [];
  const click = vi.spyOn(HTMLAnchorElement.prototype, "click").mockImplementation(function (
    this: HTMLAnchorElement,
  ) {
    saved.push(this.download);
  });
  URL.createObjectURL = () => "blob:x";
  const spec = { kind: "forecast", dataset: "flights", model: "demand", score: false };
  const done = { ...JOB, kind: "forecast", spec, state: "SUCCEEDED", ended_at: "2026-11-23T06:01:02Z" };
  server.use(
    get("/v1/jobs/j1", done),
    http.get(at("/v1/jobs/j1/events"), () => new HttpResponse(null, { status: 204 })),
    get("/v1/jobs/j1/logs", { text: "" }),
    http.get(at("/v1/jobs/j1/forecasts"), ({ request }) => {
      accepted.push(request.headers.get("Accept"));
      return accepted.length < 3 ? HttpResponse.text("rows") : problem(404, "Not found", "kept no file");
    }),
  );
  const { user } = renderPage(JobPage, "/jobs/:id", "/jobs/j1");
  await user.click(await screen.findByRole("button", { name: "CSV" }));
  await waitFor(() => expect(saved).toEqual(["forecasts-j1.csv"]));
  await user.click(screen.getByRole("button", { name: "Parquet" }));
  await waitFor(() => expect(saved).toEqual(["forecasts-j1.csv", "forecasts-j1.parquet"]));
  await user.click(screen.getByRole("button", { name: "Arrow" }));
  expect(await screen.findByRole("alert")).toHaveTextContent("kept no file");
  expect(accepted).toEqual([
    "text/csv",
    "application/vnd.apache.parquet",
    "application/vnd.apache.arrow.stream",
  ]);
  click.mockRestore();
});

test("when an ended job is deleted, then a dialog names it first and the list follows", async () => {
  await signIn({ role: "ml_engineer" });
  const deleted: string[] = [];
  const done = { ...JOB, state: "FAILED", message: "no", ended_at: "2026-11-23T06:01:02Z" };
  server.use(
    get("/v1/jobs/j1", done),
    http.get(at("/v1/jobs/j1/events"), () => new HttpResponse(null, { status: 204 })),
    get("/v1/jobs/j1/logs", { text: "" }),
    http.delete(at("/v1/jobs/j1"), ({ request }) => {
      deleted.push(request.url);
      return deleted.length === 1
        ? problem(409, "Conflict", "demand:1 serves as champion")
        : new HttpResponse(null, { status: 204 });
    }),
  );
  const { user, router } = renderPage(JobPage, "/jobs/:id", "/jobs/j1");
  await user.click(await screen.findByRole("button", { name: "Delete the train job j1" }));
  expect(await screen.findByRole("dialog", { name: "Delete the train job j1?" })).toBeInTheDocument();
  expect(deleted).toEqual([]);
  await user.click(screen.getByRole("button", { name: "Delete it for good" }));
  expect(await screen.findByText("demand:1 serves as champion")).toBeInTheDocument();
  await user.click(screen.getByRole("button", { name: "Delete it for good" }));
  await screen.findByText("elsewhere");
  expect(router.state.location.pathname).toBe("/jobs");
});

test("when there is no such job, then the page says so", async () => {
  server.use(
    http.get(at("/v1/jobs/j9"), () => problem(404, "Not found", "no job 'j9'")),
    http.get(at("/v1/jobs/j9/events"), () => problem(404, "Not found", "no job 'j9'")),
  );
  renderPage(JobPage, "/jobs/:id", "/jobs/j9");
  expect(await screen.findByRole("alert")).toHaveTextContent("no job 'j9'");
});
