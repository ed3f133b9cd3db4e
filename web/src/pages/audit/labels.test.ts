import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { actionText, detailText } from "./labels";

const CHANGES = ["post", "put", "patch", "delete"];
/** Calls that change nothing, so the trail never names them. */
const KEEP = ["POST /v1/datasets/{name}/check", "POST /v1/models/{ref}/forecasts"];

test("when the API can change something, then the trail has a description of it", () => {
  const { paths } = JSON.parse(readFileSync("openapi.json", "utf8")) as { paths: Record<string, object> };
  const actions = Object.entries(paths).flatMap(([path, methods]) =>
    Object.keys(methods)
      .filter((method) => CHANGES.includes(method))
      .map((method) => `${method.toUpperCase()} ${path}`),
  );
  expect(actions.length).toBeGreaterThan(20);
  expect(actions.filter((action) => actionText(action) === action)).toEqual(KEEP);
});

test("when a route takes a whole path, then it is named all the same", () => {
  expect(actionText("DELETE /v1/datasets/{name}/series/{unique_id:path}")).toBe("Delete a series");
});

test.each([
  [["read", "jobs"], "read, jobs"],
  [{ jobs_at_once: 2 }, '{"jobs_at_once":2}'],
  [3, "3"],
  [false, "false"],
])("when an event says %j, then it is written in a line", (value, text) => {
  expect(detailText(value)).toBe(text);
});
