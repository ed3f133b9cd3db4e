import { screen, within } from "@testing-library/react";
import { HttpResponse, http } from "msw";
import { beforeEach, expect, test, vi } from "vitest";
import type { Role } from "../../api/types";
import { session } from "../../auth/session";
import { DAY, toIso } from "../../lib/time";
import { renderPage } from "../../testing/render";
import { at, get, page, problem, server } from "../../testing/server";
import { Component } from "./detail";

// jsdom has no canvas; the drawing itself is looked at in tests/browser.
vi.mock("../../charts/as-of", () => ({
  default: ({ label }: { label: string }) => <div role="img" aria-label={label} />,
}));
vi.mock("./sparkline", () => ({ SPARK_STEPS: 96, Sparkline: () => null }));

const FIRST = Date.UTC(2024, 0, 1);
const DAYS = 20;
const CORRECTED = FIRST + 3 * DAY;
const KNOWN = FIRST + 12 * DAY;

/** Twenty days; the fourth was 3 until it was corrected to 30 on the thirteenth day. */
function stored(url: URL) {
  const asOf = Date.parse(url.searchParams.get("as_of") ?? "2026-01-01T00:00:00Z");
  const times = Array.from({ length: DAYS }, (_, i) => FIRST + i * DAY).filter((t) => t <= asOf);
  const value = (t: number, i: number) => (t === CORRECTED && asOf >= KNOWN ? 30 : i);
  return {
    unique_id: "a",
    as_of: toIso(asOf),
    ds: times.map(toIso),
    y: times.map(value),
    exog: {},
    static: {},
  };
}

const version = (number: number, parent: number | null) => ({
  number,
  parent,
  action: parent ? "append" : "upload",
  dataset: "sales",
  content_hash: `${number}`.repeat(64),
  rows: 2 * DAYS,
  series: 2,
  freq: "D",
  first_ds: toIso(FIRST),
  last_ds: toIso(FIRST + (DAYS - 1) * DAY),
  created_at: `2025-0${number}-01T09:00:00Z`,
  created_by: "ada",
});

const REVISION = {
  known_at: toIso(KNOWN + 500),
  group: "target",
  values: 1,
  first_ds: toIso(CORRECTED),
  last_ds: toIso(CORRECTED),
};

const REPORT = {
  file: "sales.csv",
  outcome: "accept_with_warning",
  findings: [
    {
      code: "gap",
      severity: "warning",
      series: "a",
      row: null,
      column: null,
      message: "2 hours are missing",
    },
  ],
};

async function signInAs(role: Role) {
  server.use(
    http.post(at("/v1/oauth/token"), () => HttpResponse.json({ access_token: "t", expires_in: 900 })),
    get("/v1/users/me", { role }),
  );
  await session.signIn("ada", "correct horse");
}

let read: URL[];
beforeEach(async () => {
  read = [];
  const roles = { futr_exog: [], hist_exog: [], stat_exog: [], categorical: [] };
  const declared = { name: "sales", description: "", latest_version: 2, publication_lag: "PT0S", roles };
  const series = ["a", "b/c"].map((unique_id) => ({
    unique_id,
    rows: DAYS,
    first_ds: toIso(FIRST),
    last_ds: toIso(FIRST + (DAYS - 1) * DAY),
    static: {},
  }));
  server.use(
    get("/v1/datasets/sales", declared),
    get("/v1/datasets/sales/versions", page([version(1, null), version(2, 1)])),
    get("/v1/datasets/sales/series", page(series)),
    get("/v1/datasets/sales/versions/1/report", REPORT),
    get("/v1/datasets/sales/revisions", page([REVISION])),
    http.get(at("/v1/datasets/sales/series/:id"), ({ request }) => {
      read.push(new URL(request.url));
      return HttpResponse.json(stored(new URL(request.url)));
    }),
  );
  await signInAs("viewer");
});

const open = (query = "") => renderPage(Component, "/datasets/:name", `/datasets/sales${query}`);
const asOfTable = () => screen.findByTestId("as-of-table");
const rowsOf = (table: HTMLElement) => within(table).getAllByRole("row").slice(1);

test("when a value was corrected later, then the table holds both and the words count it", async () => {
  const { user } = open("?as_of=2024-01-10T00:00:00Z");
  const table = await asOfTable();
  expect(rowsOf(table)).toHaveLength(10);
  expect(rowsOf(table)[0]).toHaveTextContent("Wed 10 Jan 20249.009.00as it is now");
  expect(
    screen.getByText(
      (_, node) =>
        node?.className === "as-of-summary" && /1 changed since, 10 came later/.test(node.textContent ?? ""),
    ),
  ).toBeInTheDocument();
  expect(
    await screen.findByRole("img", {
      name: /^a as known at 10 Jan 2024, 00:00 UTC: 10 values, 1 changed since/,
    }),
  ).toBeInTheDocument();
  await user.click(screen.getByRole("radio", { name: "Changed 1" }));
  expect(rowsOf(table)).toHaveLength(1);
  expect(rowsOf(table)[0]).toHaveTextContent("Thu 4 Jan 20243.0030.00+27.00changed since");
  await user.click(screen.getByRole("radio", { name: "Later 10" }));
  expect(rowsOf(table)[0]).toHaveTextContent("Sat 20 Jan 2024not yet known19.00known later");
});

test("when the slider is moved by keys, then address and table follow", async () => {
  const { user, router } = open("?as_of=2024-01-12T00:00:00Z");
  await asOfTable();
  screen.getByRole("slider", { name: "As of" }).focus();
  await user.keyboard("{ArrowRight}");
  expect(screen.getByRole("slider")).toHaveAttribute("aria-valuetext", "13 Jan 2024, 00:00 UTC");
  expect(await screen.findByRole("radio", { name: "Changed 0" })).toBeInTheDocument();
  expect(router.state.location.search).toBe("?as_of=2024-01-13T00%3A00%3A00Z");
  await user.keyboard("{PageDown}");
  expect(await screen.findByRole("radio", { name: "Known then 6" })).toBeInTheDocument();
  expect(router.state.location.search).toBe("?as_of=2024-01-06T00%3A00%3A00Z");
});

test("when a version is chosen, then every read is pinned to it and unpinning goes back", async () => {
  const { user, router } = open();
  await asOfTable();
  expect(read.every((url) => !url.searchParams.has("version"))).toBe(true);
  read.length = 0;
  await user.click(screen.getByRole("link", { name: "v1" }));
  await vi.waitFor(() => expect(read).toHaveLength(2));
  expect(read.map((url) => url.searchParams.get("version"))).toEqual(["1", "1"]);
  expect(router.state.location.search).toBe("?version=1");
  expect(screen.getByText(/, appended to v1/)).toBeInTheDocument();
  await user.click(await screen.findByRole("button", { name: "Unpin" }));
  expect(router.state.location.search).toBe("");
});

test("when a series is chosen below, then it is the one that is read", async () => {
  const { user } = open();
  await asOfTable();
  await user.click(screen.getByRole("link", { name: "b/c" }));
  await vi.waitFor(() => expect(read.at(-1)?.pathname).toBe("/v1/datasets/sales/series/b%2Fc"));
});

test("when nothing was known yet, then it says so instead of an empty table", async () => {
  open("?as_of=2023-12-01T00:00:00Z");
  await asOfTable();
  expect(screen.getByText("Nothing was known yet.")).toBeInTheDocument();
});

test("when an analyst corrects a value, then exactly that is sent and the new version is named", async () => {
  const sent: unknown[] = [];
  await signInAs("analyst");
  server.use(
    http.post(at("/v1/datasets/sales/observations"), async ({ request }) => {
      sent.push(await request.json());
      return HttpResponse.json({ created: true, version: version(3, 2) }, { status: 201 });
    }),
  );
  const { user } = open("?as_of=2024-01-10T00:00:00Z");
  await asOfTable();
  expect(screen.queryByRole("button", { name: "Delete series" })).not.toBeInTheDocument();
  await user.click(await screen.findByRole("button", { name: "Correct Wed 10 Jan 2024" }));
  const dialog = screen.getByRole("dialog", { name: "Correct a value" });
  await user.clear(within(dialog).getByLabelText("Value"));
  await user.type(within(dialog).getByLabelText("Value"), "12.5");
  await user.type(within(dialog).getByLabelText("Known since (UTC)"), "2024-01-15T08:00");
  await user.click(within(dialog).getByRole("button", { name: "Store the correction" }));
  expect(await screen.findByText("Version 3 holds the correction")).toBeInTheDocument();
  expect(sent).toEqual([
    {
      series: [
        {
          unique_id: "a",
          ds: ["2024-01-10T00:00:00Z"],
          y: [12.5],
          known_at: "2024-01-15T08:00:00Z",
        },
      ],
    },
  ]);
});

test("when a viewer looks, then nothing can be corrected", async () => {
  open();
  await asOfTable();
  expect(screen.queryByRole("button", { name: /^Correct/ })).not.toBeInTheDocument();
});

test("when the series was deleted, then what was known then is read and it can be restored", async () => {
  const restored: string[] = [];
  await signInAs("ml_engineer");
  server.use(
    http.get(at("/v1/datasets/sales/series/:id"), ({ request }) => {
      const url = new URL(request.url);
      return url.searchParams.has("as_of")
        ? HttpResponse.json(stored(url))
        : problem(404, "Not found", "gone");
    }),
    http.post(at("/v1/datasets/sales/series/:id/restore"), ({ params }) => {
      restored.push(String(params.id));
      return HttpResponse.json(version(3, 2));
    }),
  );
  const { user } = open("?series=a&as_of=2024-01-10T00:00:00Z");
  expect(await screen.findByRole("radio", { name: "Gone 10" })).toBeInTheDocument();
  expect(rowsOf(await asOfTable())[0]).toHaveTextContent("Wed 10 Jan 20249.00gonegone since");
  await user.click(await screen.findByRole("button", { name: "Restore it" }));
  await vi.waitFor(() => expect(restored).toEqual(["a"]));
});

test("when the address names a version that is not there, then it says so", async () => {
  open("?version=9");
  expect(await screen.findByText("There is no version 9")).toBeInTheDocument();
});

test("when the series cannot be read, then the problem is shown with its request", async () => {
  server.use(
    http.get(at("/v1/datasets/sales/series/:id"), () => problem(404, "Not found", "no series of this id")),
  );
  open("?series=gone");
  expect(await screen.findByRole("alert")).toHaveTextContent("no series of this idRequest req-1");
});

test("when the latest version was appended, then the findings are those of the upload before it", async () => {
  const { user } = open();
  await user.click(await screen.findByText("Findings of the upload of v1"));
  expect(await screen.findByText("2 hours are missing")).toBeVisible();
});

test("when a version has no report, then nothing is shown of it", async () => {
  server.use(
    http.get(at("/v1/datasets/sales/versions/1/report"), () =>
      problem(404, "Not found", "there is no report of version 1"),
    ),
  );
  open();
  await asOfTable();
  expect(screen.queryByText(/Findings of the upload/)).not.toBeInTheDocument();
});

test("when a series was corrected, then a button leads to the time when that was known", async () => {
  const { user, router } = open();
  await asOfTable();
  const corrections = screen.getByRole("region", { name: "Corrections of this series" });
  await user.click(within(corrections).getByRole("button", { name: "13 Jan 2024 1" }));
  expect(router.state.location.search).toBe("?as_of=2024-01-13T00%3A00%3A01Z");
  expect(await screen.findByRole("radio", { name: "Changed 0" })).toBeInTheDocument();
});
