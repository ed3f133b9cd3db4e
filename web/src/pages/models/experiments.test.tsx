import { screen, within } from "@testing-library/react";
import { HttpResponse, http } from "msw";
import { beforeEach, expect, test } from "vitest";
import { session } from "../../auth/session";
import { renderPage } from "../../testing/render";
import { at, get, page, server } from "../../testing/server";
import { Experiments } from "./experiments";

const verdict = { state: "better", estimate: -0.06, low: -0.09, high: -0.03, pairs: 1234 };
const experiment = (values: object) => ({
  id: "e1",
  name: "spring",
  model: "demand",
  challenger: 2,
  incumbent: 1,
  mode: "shadow",
  ramp: [],
  state: "running",
  reason: null,
  traffic: 0,
  started_at: "2026-11-23T06:00:00Z",
  ended_at: null,
  latest: { verdict },
  ...values,
});
const Component = () => <Experiments model="demand" />;

async function signIn(role: string) {
  server.use(get("/v1/users/me", { id: "u", user_name: "ada", role, team: "default" }));
  await session.signIn("ada", "correct horse");
}

beforeEach(() => {
  server.use(
    http.post(at("/v1/oauth/token"), () => HttpResponse.json({ access_token: "t", expires_in: 900 })),
  );
});

test("when experiments ran, then each says how it stands, by which verdict and why it ended", async () => {
  const ended = { id: "e2", name: "winter", state: "rolled_back", reason: "worse: as scored", latest: null };
  const canary = { mode: "canary", traffic: 10, ramp: [{ percent: 1 }, { percent: 10 }] };
  server.use(get("/v1/experiments-online", page([experiment(canary), experiment(ended)])));
  await signIn("viewer");
  renderPage(Component, "/", "/");
  const running = await screen.findByRole("region", { name: "Experiment spring" });
  expect(running).toHaveTextContent("Version 2 against 1, as a canary on 10 % of the series (1, 10 %).");
  expect(running).toHaveTextContent("Its loss is −6.0 % (−9.0 % to −3.0 %) on 1,234 pairs: better.");
  expect(within(running).queryByRole("button")).toBeNull();
  const over = screen.getByRole("region", { name: "Experiment winter" });
  expect(over).toHaveTextContent("rolled back");
  expect(over).toHaveTextContent("worse: as scored");
});

test("when nothing is scored or bounded yet, then it says so", async () => {
  const none = { ...verdict, state: "undecided", estimate: null, low: null, high: null, pairs: 0 };
  const few = { ...none, estimate: 0.02, pairs: 3 };
  const waiting = [none, few].map((each, index) =>
    experiment({ id: `e${index}`, name: `trial-${index}`, latest: { verdict: each } }),
  );
  server.use(get("/v1/experiments-online", page(waiting)));
  await signIn("viewer");
  renderPage(Component, "/", "/");
  expect(await screen.findByText("No actual has come yet that judges both.")).toBeInTheDocument();
  expect(screen.getByText(/Its loss is \+2\.0 % \(not bounded yet\) on 3 pairs/)).toBeInTheDocument();
});

test("when an engineer stops an experiment, then it is asked for once and the list is read again", async () => {
  const requests: string[] = [];
  let state = "running";
  server.use(
    http.get(at("/v1/experiments-online"), () => HttpResponse.json(page([experiment({ state })]))),
    http.post(at("/v1/experiments-online/e1/stop"), ({ request }) => {
      requests.push(new URL(request.url).pathname);
      state = "stopped";
      return HttpResponse.json(experiment({ state }));
    }),
  );
  await signIn("ml_engineer");
  const { user } = renderPage(Component, "/", "/");
  await user.click(await screen.findByRole("button", { name: "Stop" }));
  const dialog = screen.getByRole("dialog", { name: "Stop the experiment spring?" });
  await user.click(within(dialog).getByRole("button", { name: "Stop it" }));
  expect(await screen.findByText("stopped")).toBeInTheDocument();
  expect(requests).toEqual(["/v1/experiments-online/e1/stop"]);
});
