import { screen, within } from "@testing-library/react";
import { HttpResponse, http } from "msw";
import { beforeEach, expect, test } from "vitest";
import { expectAccessible } from "../../testing/axe";
import { renderPage } from "../../testing/render";
import { at, get, page, server } from "../../testing/server";
import { signIn } from "../../testing/signed-in";
import { Component } from "./page";

const item = (name: string, used: number, limit: number | null, resets_at: string | null = null) => ({
  name,
  used,
  limit,
  unit: "s",
  resets_at,
});
const QUOTA = {
  jobs_at_once: 2,
  jobs_waiting: null,
  cpu_seconds: null,
  gpu_seconds: null,
  storage_mb: null,
  requests_per_minute: 600,
  forecast_days: null,
};

beforeEach(() => {
  server.use(
    get("/v1/usage", {
      team: "retail",
      at: "2026-11-23T06:00:00Z",
      items: [
        item("jobs_at_once", 2, 2),
        item("cpu_seconds", 5400, 36_000, "2099-12-01T00:00:00Z"),
        item("gpu_seconds", 0, null),
        item("storage_mb", 1234.5, 5000),
      ],
    }),
  );
});

const open = () => renderPage(Component, "/usage", "/usage");
const gauge = async (name: string) =>
  (await screen.findByText(name, { selector: ".hint" })).closest("li") as HTMLElement;

test("when a team looks at its usage, then each figure stands against its limit, in units people use", async () => {
  await signIn({ role: "viewer", team: "retail" });
  open();
  expect(await gauge("Jobs at once")).toHaveTextContent("2 of 2Used up: further jobs wait.");
  expect(await gauge("CPU time of jobs this month")).toHaveTextContent("1 h 30 min of 10 h");
  expect(await gauge("CPU time of jobs this month")).toHaveTextContent("counted anew on 1 Dec 2099");
  expect(await gauge("GPU time of jobs this month")).toHaveTextContent("none · no limit");
  expect(await gauge("Storage")).toHaveTextContent("1.2 GB of 5.0 GB");
  expect(screen.queryByText("What every team uses and may use")).not.toBeInTheDocument();
  await expectAccessible();
});

test("when an operator changes a team's quota, then what is left empty falls back to the platform's", async () => {
  await signIn();
  const sent: unknown[] = [];
  const team = { name: "retail", created_at: "2026-11-01T06:00:00Z", users: 3, quota: QUOTA };
  server.use(
    get("/v1/teams", page([team])),
    get(
      "/v1/usage/teams",
      page([
        {
          team: "retail",
          at: "2026-11-23T06:00:00Z",
          items: [
            item("jobs_at_once", 1, 2),
            item("cpu_seconds", 5400, 36_000),
            item("gpu_seconds", 0, null),
            item("storage_mb", 1234.5, null),
            item("requests_per_minute", 12, 600),
          ],
        },
      ]),
    ),
    http.patch(at("/v1/teams/retail"), async ({ request }) => {
      sent.push(await request.json());
      return HttpResponse.json(team);
    }),
  );
  const { user } = open();
  const row = await screen.findByRole("row", { name: /^retail/ });
  await expect.poll(() => row.textContent).toContain("1 h 30 min of 10 h (default)");
  expect(row).toHaveTextContent("1.2 GB · no limit");
  expect(row).toHaveTextContent("12 of 600");
  await user.click(screen.getByRole("button", { name: "Change the quota of retail" }));
  const dialog = screen.getByRole("dialog", { name: "What retail may use" });
  await user.clear(within(dialog).getByLabelText("Jobs at once"));
  await user.type(within(dialog).getByLabelText("Storage (MB)"), "2000");
  await user.click(within(dialog).getByRole("button", { name: "Save" }));
  await expect.poll(() => screen.queryByRole("button", { name: "Save" })).toBeNull();
  expect(sent).toEqual([{ quota: { ...QUOTA, jobs_at_once: null, storage_mb: 2000 } }]);
});
