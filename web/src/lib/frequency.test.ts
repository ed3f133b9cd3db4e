import { expect, test } from "vitest";
import { parseFrequency, season, shift } from "./frequency";
import { toIso } from "./time";

const moved = (from: string, alias: string, steps: number) =>
  toIso(shift(Date.parse(from), parseFrequency(alias), steps)).slice(0, 10);

test("when business days are counted, then weekends are passed over, both ways", () => {
  expect(moved("2024-03-01T00:00:00Z", "B", 1)).toBe("2024-03-04");
  expect(moved("2024-03-04T00:00:00Z", "B", -1)).toBe("2024-03-01");
  expect(moved("2024-03-01T00:00:00Z", "B", 261)).toBe("2025-03-03");
});

test("when months end, then each step lands on the last day, whatever the month's length", () => {
  expect(moved("2024-01-31T00:00:00Z", "ME", 1)).toBe("2024-02-29");
  expect(moved("2024-02-29T00:00:00Z", "ME", 1)).toBe("2024-03-31");
  expect(moved("2023-12-31T00:00:00Z", "QE", 2)).toBe("2024-06-30");
});

test("when an alias is a number or counts business days, then it is read as the server reads it", () => {
  expect(parseFrequency("24")).toEqual({ count: 24, unit: "i" });
  expect(season(parseFrequency("24")).steps).toBe(1);
  expect(season(parseFrequency("B")).steps).toBe(5);
});
