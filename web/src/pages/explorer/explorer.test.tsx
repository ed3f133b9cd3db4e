import { screen, within } from "@testing-library/react";
import { HttpResponse, http } from "msw";
import { expect, test, vi } from "vitest";
import { HOUR, toIso } from "../../lib/time";
import { renderPage } from "../../testing/render";
import { at, get, page, problem, server } from "../../testing/server";
import { ExplorerPage } from "./page";

// jsdom has no canvas; the drawing itself is looked at in tests/browser.
vi.mock("../../charts/fan", () => ({
  default: ({ label }: { label: string }) => <div role="img" aria-label={label} />,
}));

const LAST = Date.UTC(2014, 0, 1, 4);
const TRAINED = "2013-12-25T05:00:00Z";
/** An address whose origin the version has not learned beyond. */
const UNSEEN = `/explorer?series=JFK%2FB6&as_of=${TRAINED}`;
const IDS = ["EWR/UA", "JFK/B6"];

function stored(id: string, url: URL) {
  const [start, end] = ["start", "end"].map((name) => Date.parse(url.searchParams.get(name) ?? ""));
  const asOf = Date.parse(url.searchParams.get("as_of") ?? "2026-01-01T00:00:00Z");
  const ds: string[] = [];
  for (let t = start ?? 0; t <= Math.min(end ?? 0, LAST, asOf - HOUR); t += HOUR) ds.push(toIso(t));
  return { unique_id: id, as_of: toIso(asOf), ds, y: ds.map((_, i) => (i % 24) + 1), exog: {}, static: {} };
}

function platform() {
  const seen = { requests: [] as Record<string, unknown>[], refs: [] as string[], series: [] as URL[] };
  const issued = new Map<string, object>();
  server.use(
    get("/v1/datasets", page([{ name: "flights", latest_version: 1, publication_lag: "PT1H", roles: {} }])),
    get("/v1/datasets/flights/versions", page([{ number: 1, freq: "h", last_ds: toIso(LAST) }])),
    get("/v1/datasets/flights/series", page(IDS.map((unique_id) => ({ unique_id, static: {} })))),
    http.get(at("/v1/datasets/flights/series/:id"), ({ params, request }) => {
      seen.series.push(new URL(request.url));
      return HttpResponse.json(stored(String(params.id), new URL(request.url)));
    }),
    get("/v1/models", page([{ name: "demand", champion: 3, latest: 3, versions: 1 }])),
    get(
      "/v1/models/demand/versions",
      page([
        { model: "demand", version: 3, aliases: ["champion"], dataset: "flights", h: 24, as_of: TRAINED },
      ]),
    ),
    http.post(at("/v1/models/:ref/forecasts"), async ({ params, request }) => {
      const body = (await request.json()) as { h: number; as_of: string; series: { unique_id: string }[] };
      seen.requests.push(body);
      seen.refs.push(String(params.ref));
      const ds = Array.from({ length: body.h }, (_, i) => toIso(Date.parse(body.as_of) + i * HOUR));
      const level = (y: number) => ds.map(() => y);
      const forecast = {
        forecast_id: `fc-${seen.requests.length}`,
        model: { name: "demand", version: 3, alias: "champion", family: "tft" },
        freq: "h",
        as_of: body.as_of,
        issued_at: body.as_of,
        forecasts: [
          {
            unique_id: body.series[0]?.unique_id,
            status: "fallback",
            method: "seasonal_naive",
            reason: "short_history",
            detail: null,
            ds,
            mean: level(12),
            quantiles: {
              "0.025": level(5),
              "0.1": level(8),
              "0.5": level(12),
              "0.9": level(16),
              "0.975": level(19),
            },
          },
        ],
        warnings: ["one warning"],
      };
      issued.set(forecast.forecast_id, forecast);
      return HttpResponse.json(forecast);
    }),
    http.get(at("/v1/forecasts/:id"), ({ params }) => HttpResponse.json(issued.get(String(params.id)) ?? {})),
  );
  return seen;
}

const open = (address: string) => renderPage(ExplorerPage, "/explorer", address);

test("when the origin lies in what the version learned from, then that is said and nothing is compared", async () => {
  platform();
  const { user } = open("/explorer?series=JFK%2FB6&as_of=2013-12-25T04:00:00Z");
  await user.click(await screen.findByRole("button", { name: "Forecast" }));
  expect(await screen.findByText("Learned from these days")).toBeInTheDocument();
  expect(screen.queryByText(/than naive|steps compared|WAPE/)).not.toBeInTheDocument();
});

test("when it is not recorded what the version learned from, then nothing is compared either", async () => {
  platform();
  const version = {
    model: "demand",
    version: 3,
    aliases: ["champion"],
    dataset: "flights",
    h: 24,
    as_of: null,
  };
  server.use(get("/v1/models/demand/versions", page([version])));
  const { user } = open(UNSEEN);
  await user.click(await screen.findByRole("button", { name: "Forecast" }));
  expect(await screen.findByText(/not recorded which days this version learned from/)).toBeInTheDocument();
  expect(screen.queryByText(/than naive|steps compared/)).not.toBeInTheDocument();
});

test("when the explorer is opened, then the forecast follows the last value and there is nothing to compare", async () => {
  const seen = platform();
  const { user } = open("/explorer?series=JFK%2FB6");
  expect(await screen.findByLabelText("As of (UTC)")).toHaveValue("2014-01-01T05:00");
  await user.click(await screen.findByRole("button", { name: "Forecast" }));
  expect(await screen.findByText(/No actuals have arrived/)).toBeInTheDocument();
  expect(seen.requests[0]?.as_of).toBe("2014-01-01T05:00:00Z");
});

test("when a forecast is asked for, then table, badge, score and address show it", async () => {
  const seen = platform();
  const { user, router } = open(UNSEEN);
  await user.click(await screen.findByRole("button", { name: "Forecast" }));
  const table = await screen.findByTestId("forecast-table");
  expect(within(table).getAllByRole("row")).toHaveLength(25);
  expect(within(table).getAllByRole("row")[1]).toHaveTextContent("Wed 25 Dec, 05:0012.008.0016.005.0019.00");
  expect(seen.refs).toEqual(["demand"]);
  expect(seen.requests[0]).toEqual({
    h: 24,
    as_of: "2013-12-25T05:00:00Z",
    quantiles: [0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975],
    series: [{ unique_id: "JFK/B6" }],
  });
  expect(screen.getByText("From seasonal naive")).toBeInTheDocument();
  expect(screen.getByText("The history is too short for the model.")).toBeInTheDocument();
  expect(screen.getByText("one warning")).toBeInTheDocument();
  expect(await screen.findByText(/24 steps compared/)).toBeInTheDocument();
  expect(
    screen.getByRole("img", { name: /^JFK\/B6: 72 steps of history .* 24 steps of forecast/ }),
  ).toBeInTheDocument();
  expect(router.state.location.search).toContain("forecast=fc-1");
});

test("when the history is read, then once as it was known and once as it is now", async () => {
  const seen = platform();
  open("/explorer?series=JFK%2FB6");
  await screen.findByRole("img");
  await vi.waitFor(() => expect(seen.series).toHaveLength(2));
  expect(seen.series.map((url) => url.searchParams.get("as_of")).sort()).toEqual([
    "2014-01-01T05:00:00Z",
    null,
  ]);
  expect(seen.series[0]?.pathname).toBe("/v1/datasets/flights/series/JFK%2FB6");
});

test("when an address with a forecast is opened, then that forecast is shown and none is issued", async () => {
  const seen = platform();
  const first = open("/explorer?series=JFK%2FB6");
  await first.user.click(await screen.findByRole("button", { name: "Forecast" }));
  await screen.findByTestId("forecast-table");
  const address = `/explorer${first.router.state.location.search}`;
  document.body.innerHTML = "";
  open(address);
  await screen.findByTestId("forecast-table");
  expect(seen.requests).toHaveLength(1);
});

test("when the series is changed with a forecast on screen, then the new one is asked for", async () => {
  const seen = platform();
  const { user } = open("/explorer?series=JFK%2FB6");
  await user.click(await screen.findByRole("button", { name: "Forecast" }));
  await screen.findByTestId("forecast-table");
  await user.click(screen.getByRole("heading", { name: "JFK/B6" }));
  await user.keyboard("[[");
  await vi.waitFor(() => expect(seen.requests).toHaveLength(2));
  expect(seen.requests[1]?.series).toEqual([{ unique_id: "EWR/UA" }]);
  expect(await screen.findByRole("heading", { name: "EWR/UA" })).toBeInTheDocument();
});

test("when the model refuses, then the reason and the request id are shown", async () => {
  platform();
  server.use(
    http.post(at("/v1/models/:ref/forecasts"), () => problem(422, "Invalid input", "as_of is too early")),
  );
  const { user } = open("/explorer?series=JFK%2FB6");
  await user.click(await screen.findByRole("button", { name: "Forecast" }));
  expect(await screen.findByRole("alert")).toHaveTextContent("as_of is too earlyRequest req-1");
});

test("when there is no dataset, then the one command that brings one is shown", async () => {
  server.use(get("/v1/datasets", page([])), get("/v1/models", page([])));
  open("/explorer");
  expect(await screen.findByText("quantis demo")).toBeInTheDocument();
});

test("when the address is broken, then its parts give way to the defaults", async () => {
  platform();
  open("/explorer?dataset=gone&as_of=yesterday&h=-3&history=x&series=JFK%2FB6");
  expect(await screen.findByLabelText("As of (UTC)")).toHaveValue("2014-01-01T05:00");
  expect(screen.getByLabelText("Horizon")).toHaveValue(24);
  expect(screen.getByRole("radio", { name: "3 d" })).toBeChecked();
});

test("when another dataset is chosen, then nothing of the old one stays in the address", async () => {
  platform();
  server.use(
    get(
      "/v1/datasets",
      page(
        ["flights", "co2"].map((name) => ({ name, latest_version: 1, publication_lag: "PT0S", roles: {} })),
      ),
    ),
    get("/v1/datasets/co2/versions", page([{ number: 1, freq: "MS", last_ds: "2001-12-01T00:00:00Z" }])),
    get("/v1/datasets/co2/series", page([{ unique_id: "mauna-loa", static: {} }])),
    http.get(at("/v1/datasets/co2/series/:id"), ({ params, request }) =>
      HttpResponse.json(stored(String(params.id), new URL(request.url))),
    ),
  );
  const { user, router } = open(
    "/explorer?dataset=flights&series=JFK%2FB6&model=demand&as_of=2013-12-25T05:00:00Z&h=12",
  );
  await user.selectOptions(await screen.findByLabelText("Dataset"), "co2");
  expect(await screen.findByRole("heading", { name: "mauna-loa" })).toBeInTheDocument();
  expect(router.state.location.search).toBe("?dataset=co2");
  expect(screen.getByLabelText("Model")).toHaveDisplayValue("No model yet");
  expect(screen.getByRole("button", { name: "Forecast" })).toBeDisabled();
  expect(screen.getByLabelText("As of (UTC)")).toHaveValue("2001-12-01T00:00");
});
