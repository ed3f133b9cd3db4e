import { screen, within } from "@testing-library/react";
import { HttpResponse, http } from "msw";
import { expect, test } from "vitest";
import { renderPage } from "../../testing/render";
import { at, problem, server } from "../../testing/server";
import { Component } from "./create";

const REPORT = {
  file: "Flights 2013.csv",
  outcome: "accept",
  findings: [],
  series: 2,
  rows: 48,
  freq: "h",
  columns: {
    unique_id: "string",
    ds: "timestamp",
    y: "double",
    scheduled: "double",
    temp: "double",
    origin: "string",
    note: "string",
  },
};
const FILE = new File(["unique_id,ds,y\n"], "Flights 2013.csv", { type: "text/csv" });

function platform(upload: () => Response) {
  const seen = { checked: "", type: "", specs: [] as unknown[], uploads: [] as string[] };
  server.use(
    http.post(at("/v1/datasets/:name/check"), ({ params, request }) => {
      seen.checked = `${params.name} ${new URL(request.url).searchParams.get("file")}`;
      seen.type = request.headers.get("Content-Type") ?? "";
      return HttpResponse.json(REPORT);
    }),
    http.post(at("/v1/datasets"), async ({ request }) => {
      seen.specs.push(await request.json());
      return HttpResponse.json({}, { status: 201 });
    }),
    http.post(at("/v1/datasets/:name/versions"), ({ params }) => {
      seen.uploads.push(String(params.name));
      return upload();
    }),
  );
  return seen;
}

async function choose(user: ReturnType<typeof renderPage>["user"]) {
  await user.upload(screen.getByLabelText(/Choose a file/), FILE);
  await screen.findByText("Accepted");
}

test("when roles are chosen and the form is sent, then the declaration says exactly that", async () => {
  const seen = platform(() =>
    HttpResponse.json({ created: true, version: { dataset: "flights" }, report: REPORT }),
  );
  const { user, router } = renderPage(Component, "/datasets/new", "/datasets/new");
  await choose(user);
  expect([seen.checked, seen.type]).toEqual(["flights-2013 Flights 2013.csv", "text/csv"]);

  const role = (column: string, name: string) =>
    within(screen.getByRole("group", { name: `Role of ${column}` })).getByRole("radio", { name });
  expect(role("temp", "Observed")).toBeChecked();
  expect(role("origin", "Fixed per series")).toBeChecked();
  await user.click(role("scheduled", "Known in advance"));
  await user.click(role("note", "Ignore"));
  const name = screen.getByLabelText("Name");
  await user.clear(name);
  await user.type(name, "flights");
  await user.clear(screen.getByLabelText("Publication lag"));
  await user.type(screen.getByLabelText("Publication lag"), "1");
  await user.click(screen.getByRole("button", { name: "Create and upload" }));

  await screen.findByText("elsewhere");
  expect(router.state.location.pathname).toBe("/datasets/flights");
  expect(seen.uploads).toEqual(["flights"]);
  expect(seen.specs).toEqual([
    {
      name: "flights",
      description: "",
      freq: "h",
      time_zone: "UTC",
      holidays: null,
      publication_lag: "PT1H",
      roles: {
        futr_exog: ["scheduled"],
        hist_exog: ["temp"],
        stat_exog: ["origin"],
        categorical: ["origin"],
      },
    },
  ]);
});

test("when the upload is rejected, then its findings are shown and trying again creates no second dataset", async () => {
  const finding = {
    code: "D007",
    severity: "error",
    series: "a",
    row: 3,
    column: "y",
    message: "not a number",
  };
  const seen = platform(() => problem(422, "The panel was rejected", "1 error", { findings: [finding] }));
  const { user } = renderPage(Component, "/datasets/new", "/datasets/new");
  await choose(user);
  await user.click(screen.getByRole("button", { name: "Create and upload" }));
  expect(await screen.findByText("not a number")).toBeInTheDocument();
  expect(screen.getByRole("alert")).toHaveTextContent("The panel was rejected");
  await user.click(screen.getByRole("button", { name: "Upload again" }));
  await screen.findByRole("button", { name: "Upload again" });
  expect(seen.specs).toHaveLength(1);
  expect(seen.uploads).toEqual(["flights-2013", "flights-2013"]);
});

test("when the file shows no frequency, then it must be declared and can be", async () => {
  const seen = platform(() =>
    HttpResponse.json({ created: true, version: { dataset: "co2" }, report: REPORT }),
  );
  const finding = {
    code: "D040",
    severity: "error",
    series: null,
    row: null,
    column: null,
    message: "no step repeats",
  };
  const report = { ...REPORT, outcome: "reject", freq: null, findings: [finding] };
  server.use(http.post(at("/v1/datasets/:name/check"), () => HttpResponse.json(report)));
  const { user } = renderPage(Component, "/datasets/new", "/datasets/new");
  await user.upload(screen.getByLabelText(/Choose a file/), FILE);
  expect(await screen.findByLabelText("Frequency")).toBeRequired();
  await user.type(screen.getByLabelText("Frequency"), "W");
  await user.click(screen.getByRole("button", { name: "Create and upload" }));
  await screen.findByText("elsewhere");
  expect(seen.specs).toMatchObject([{ freq: "W" }]);
});

test("when the file has other errors, then there is nothing to declare yet", async () => {
  platform(() => HttpResponse.json({}));
  const finding = {
    code: "D001",
    severity: "error",
    series: "a",
    row: 3,
    column: null,
    message: "duplicate key",
  };
  const report = { ...REPORT, outcome: "reject", findings: [finding, { ...finding, code: "D040" }] };
  server.use(http.post(at("/v1/datasets/:name/check"), () => HttpResponse.json(report)));
  const { user } = renderPage(Component, "/datasets/new", "/datasets/new");
  await user.upload(screen.getByLabelText(/Choose a file/), FILE);
  expect(await screen.findAllByText("duplicate key")).toHaveLength(2);
  expect(screen.queryByRole("button", { name: "Create and upload" })).not.toBeInTheDocument();
});
