import { render, screen, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { expect, test } from "vitest";
import type { CheckReport, Finding } from "../../api/types";
import { Findings, Outcome } from "./findings";

const finding = (part: Partial<Finding>): Finding => ({
  code: "D001",
  severity: "error",
  series: null,
  row: null,
  column: null,
  message: "",
  ...part,
});

const FINDINGS = [
  finding({ code: "D030", severity: "info", column: "ds", message: "times without a zone were read as UTC" }),
  ...Array.from({ length: 8 }, (_, i) =>
    finding({ series: "JFK/B6", row: i + 1, message: `duplicate ${i + 1}` }),
  ),
  finding({
    code: "D014",
    severity: "warning",
    series: "EWR/UA",
    column: "temp",
    message: "3 values are missing",
  }),
];

const messages = () =>
  screen
    .getAllByRole("row")
    .slice(1)
    .map((row) => within(row).getAllByRole("cell").at(-1)?.textContent);

test("when findings are shown, then errors come first and a long group is opened on demand", async () => {
  render(<Findings findings={FINDINGS} />);
  expect(messages()).toEqual([
    "duplicate 1",
    "duplicate 2",
    "duplicate 3",
    "duplicate 4",
    "duplicate 5",
    "Show 3 more of D001",
    "3 values are missing",
    "times without a zone were read as UTC",
  ]);
  await userEvent.click(screen.getByRole("button", { name: "Show 3 more of D001" }));
  expect(messages()).toHaveLength(10);
});

test("when a severity and words are chosen, then only what matches both is left", async () => {
  render(<Findings findings={FINDINGS} />);
  await userEvent.click(screen.getByRole("radio", { name: /Warning/ }));
  expect(messages()).toEqual(["3 values are missing"]);
  await userEvent.type(screen.getByRole("searchbox", { name: "Filter findings" }), "JFK");
  expect(screen.getByText("No finding matches the filter.")).toBeInTheDocument();
  await userEvent.click(screen.getByRole("radio", { name: /All/ }));
  expect(messages()).toHaveLength(6);
});

test.each([
  ["accept", "status", "Accepted"],
  ["accept_with_warning", "status", "Accepted, with warnings"],
  ["reject", "alert", "Rejected"],
] as const)("when the outcome is %s, then it is stated in words", (outcome, role, words) => {
  const report: CheckReport = {
    file: "a.csv",
    outcome,
    findings: [],
    series: 1,
    rows: 2,
    freq: "h",
    columns: {},
  };
  render(<Outcome report={report} />);
  expect(screen.getByRole(role)).toHaveTextContent(words);
  expect(screen.getByRole(role)).toHaveTextContent("1 series, 2 rows, frequency h");
});
