import { describe, expect, test } from "vitest";
import { allows, guessRoles, NAME_PATTERN, nameFromFile, rolesOf } from "./roles";

const COLUMNS = { unique_id: "string", ds: "timestamp[us]", y: "double", temp: "double", origin: "string" };

describe("roles of a file's columns", () => {
  test("when nothing is declared, then numbers are observed, text is a fixed category, the panel's own columns have none", () => {
    expect(rolesOf(guessRoles({ columns: COLUMNS }))).toEqual({
      futr_exog: [],
      hist_exog: ["temp"],
      stat_exog: ["origin"],
      categorical: ["origin"],
    });
  });

  test("when a category is ignored, then it appears nowhere", () => {
    const choices = guessRoles({ columns: COLUMNS }).map((choice) => ({
      ...choice,
      role: "ignore" as const,
    }));
    expect(Object.values(rolesOf(choices)).flat()).toEqual([]);
  });
});

test.each([
  ["Flights 2013.csv", "flights-2013"],
  ["2013 CO₂.csv", "co"],
  ["___.parquet", "data"],
  [`${"a".repeat(90)}.csv`, "a".repeat(63)],
])("when a file is named %s, then the suggested name is legal", (file, name) => {
  expect(nameFromFile(file)).toBe(name);
  expect(name).toMatch(new RegExp(`^${NAME_PATTERN}$`));
});

test("when a role is higher, then it may do what a lower one may", () => {
  expect(allows("admin", "viewer")).toBe(true);
  expect(allows("analyst", "ml_engineer")).toBe(false);
  expect(allows(undefined, "viewer")).toBe(false);
});
