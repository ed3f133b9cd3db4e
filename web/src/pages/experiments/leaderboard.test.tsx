import { screen, within } from "@testing-library/react";
import { expect, test, vi } from "vitest";
import { renderPage } from "../../testing/render";
import { get, server } from "../../testing/server";
import { Component } from "./leaderboard";

vi.mock("../../charts/bars", () => ({
  default: ({ label, reference }: { label: string; reference: number }) => (
    <div role="img" aria-label={`${label} at ${reference}`} />
  ),
}));

const row = (rank: number, model: string, family: string, mase: number | null, more: object = {}) => ({
  rank,
  model,
  family,
  mase,
  wql: mase,
  wape: mase,
  coverage_80: 0.8,
  seconds: 3,
  skill: mase === null ? null : 1 - mase / 0.9,
  chosen: false,
  failed: null,
  ...more,
});

test("when some models failed, then the board ranks the rest, marks the chosen one and shows why", async () => {
  server.use(
    get("/v1/experiments/j1/leaderboard", {
      experiment: "j1",
      model: "demand",
      dataset: "flights",
      dataset_version: 1,
      cutoffs: ["2013-12-23T04:00:00Z"],
      h: 24,
      rows: [
        row(3, "seasonal_naive_24", "seasonal_naive", 1.2),
        row(1, "boosting", "boosting", 0.6, {
          chosen: true,
          verdict: "better",
          p_value: 0.0123,
          size_bytes: 34_200,
          fallbacks: 2,
        }),
        row(2, "seasonal_naive_168", "seasonal_naive", 0.9),
        row(4, "auto_ets", "statistical", null, { failed: "out of memory" }),
      ],
    }),
  );
  renderPage(Component, "/experiments/:id", "/experiments/j1");
  const table = await screen.findByRole("table", { name: "Models, best first" });
  const rows = within(table).getAllByRole("row").slice(1);
  expect(rows.map((r) => within(r).getByRole("rowheader").textContent)).toEqual([
    "boosting chosenGradient boosting",
    "seasonal_naive_168 Seasonal naive",
    "seasonal_naive_24 Seasonal naive",
    "auto_ets out of memory",
  ]);
  expect(rows[0]).toHaveTextContent("+33.3 %");
  expect(rows[0]).toHaveTextContent("better, p = 0.012; 2 series by the fallback chain");
  expect(rows[0]).toHaveTextContent("34 kB");
  expect(rows[2]).toHaveTextContent("−33.3 %");
  expect(rows[3]).toHaveTextContent("failed");
  expect(
    await screen.findByRole("img", { name: /MASE of 3 models; boosting was chosen .* at 0.9$/ }),
  ).toBeInTheDocument();
});
