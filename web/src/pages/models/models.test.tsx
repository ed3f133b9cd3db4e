import { screen, within } from "@testing-library/react";
import { HttpResponse, http } from "msw";
import { beforeEach, expect, test } from "vitest";
import { session } from "../../auth/session";
import { renderPage } from "../../testing/render";
import { at, get, page, problem, server } from "../../testing/server";
import { Component } from "./detail";

const version = (number: number, aliases: string[]) => ({
  model: "demand",
  version: number,
  family: "boosting",
  aliases,
  created_at: "2026-11-23T06:00:00Z",
  experiment: "j1",
  dataset: "flights",
  dataset_version: 1,
  content_hash: "abc",
  h: 24,
  freq: "h",
  metrics: { mase: 0.7, coverage_80: 0.81 },
  gate: {},
});

beforeEach(async () => {
  server.use(
    http.post(at("/v1/oauth/token"), () => HttpResponse.json({ access_token: "t", expires_in: 900 })),
    get("/v1/users/me", { id: "u", user_name: "ada", role: "ml_engineer", team: "default" }),
    get("/v1/experiments-online", page([])),
    get("/v1/models/demand/policy", { policy: "gate" }),
    get("/v1/models/demand/traffic", { shares: [{ version: 2, percent: 10 }] }),
    get("/v1/models/demand/versions", page([version(1, ["champion"]), version(2, ["candidate"])])),
  );
  await session.signIn("ada", "correct horse");
});

test("when the gate refuses a promotion, then its reason is shown and the champion stays", async () => {
  const requests: unknown[] = [];
  server.use(
    http.put(at("/v1/models/demand/aliases/champion"), async ({ request }) => {
      requests.push(await request.json());
      return problem(409, "Conflict", "demand:2 did not pass the gate (MASE 0.95 against 0.91)");
    }),
  );
  const { user } = renderPage(Component, "/models/:name", "/models/demand");
  await user.click(await screen.findByRole("button", { name: "Promote to champion" }));
  expect(requests).toEqual([]);
  const dialog = screen.getByRole("dialog", { name: "Promote version 2?" });
  await user.click(within(dialog).getByRole("button", { name: "Promote version 2" }));
  expect(await within(dialog).findByRole("alert")).toHaveTextContent(
    "did not pass the gate (MASE 0.95 against 0.91)",
  );
  expect(requests).toEqual([{ version: 2 }]);
  expect(screen.getByText("Version 1 serves as champion.")).toBeInTheDocument();
});

test.each([
  ["Promote to champion", 1],
  ["Roll back to this", 2],
])("when two versions were compared, then '%s' shows the figures of both", async (button, champion) => {
  const reason = "v2 has 2.4 times the error of v1 (MASE 1.20 against 0.50)";
  const head_to_head = { challenger: 2, incumbent: 1, challenger_mase: 1.2, incumbent_mase: 0.5, reason };
  const aliases = (number: number) => (number === champion ? ["champion"] : []);
  const compared = { ...version(2, aliases(2)), gate: { passed: true, replaces: false, head_to_head } };
  server.use(get("/v1/models/demand/versions", page([version(1, aliases(1)), compared])));
  const { user } = renderPage(Component, "/models/:name", "/models/demand");
  await user.click(await screen.findByRole("button", { name: button }));
  const dialog = screen.getByRole("dialog");
  expect(within(dialog).getByRole("row", { name: /v2 1\.2/ })).toBeInTheDocument();
  expect(within(dialog).getByRole("row", { name: /v1 0\.5/ })).toBeInTheDocument();
  expect(dialog).toHaveTextContent("v2 has 2.4 times the error of v1");
});

test("when a version is shown, then its figures are named and written as people write them", async () => {
  renderPage(Component, "/models/:name", "/models/demand");
  expect((await screen.findAllByText("80 % covers"))[0]?.nextSibling).toHaveTextContent("81.0 %");
});

test("when traffic is divided, then the page says who answers how much", async () => {
  renderPage(Component, "/models/:name", "/models/demand");
  await screen.findByText(/are divided: 10 % to version 2, the rest to the champion\./);
});

test("when a version gets a share, then the others keep theirs and two people may have to agree", async () => {
  const requests: unknown[] = [];
  server.use(
    get("/v1/models/demand/policy", { policy: "two_person" }),
    get("/v1/models/demand/traffic", { shares: [{ version: 3, percent: 20 }] }),
    get(
      "/v1/models/demand/versions",
      page([version(1, ["champion"]), { ...version(2, []), gate: { passed: true } }]),
    ),
    http.put(at("/v1/models/demand/traffic"), async ({ request }) => {
      requests.push(await request.json());
      return HttpResponse.json({ id: "a1", model: "demand", state: "pending" }, { status: 202 });
    }),
  );
  const { user } = renderPage(Component, "/models/:name", "/models/demand");
  await screen.findByText(/are divided: 20 % to version 3/);
  await user.click(await screen.findByRole("button", { name: "Give it a share: traffic of version 2" }));
  const dialog = screen.getByRole("dialog", { name: "How much does version 2 answer?" });
  await user.clear(within(dialog).getByLabelText("Percent of the requests"));
  await user.type(within(dialog).getByLabelText("Percent of the requests"), "5");
  await user.click(await within(dialog).findByRole("button", { name: "Ask for approval" }));
  expect(await screen.findByText(/Another person must approve it/)).toBeInTheDocument();
  expect(requests).toEqual([
    {
      shares: [
        { version: 3, percent: 20 },
        { version: 2, percent: 5 },
      ],
    },
  ]);
});

test("when two people decide, then promoting asks for approval and says that it waits", async () => {
  const requests: unknown[] = [];
  server.use(
    get("/v1/models/demand/policy", { policy: "two_person" }),
    http.put(at("/v1/models/demand/aliases/champion"), async ({ request }) => {
      requests.push(await request.json());
      return HttpResponse.json({ id: "a1", model: "demand", state: "pending" }, { status: 202 });
    }),
  );
  const { user } = renderPage(Component, "/models/:name", "/models/demand");
  expect(await screen.findByText("Two people decide which version serves")).toBeInTheDocument();
  expect(screen.queryByRole("button", { name: "Let the gate decide" })).not.toBeInTheDocument();
  await user.click(await screen.findByRole("button", { name: "Promote to champion" }));
  await user.click(screen.getByRole("button", { name: "Ask for approval" }));
  expect(await screen.findByText(/Another person must approve it/)).toBeInTheDocument();
  expect(requests).toEqual([{ version: 2 }]);
  expect(screen.getByText("Version 1 serves as champion.")).toBeInTheDocument();
});
