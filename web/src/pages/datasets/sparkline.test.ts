import { expect, test } from "vitest";
import { sparkPath } from "./sparkline";

test("when values rise from one edge to the other, then the line goes from the lower left to the upper right", () => {
  expect(sparkPath([1, 2, 3])).toBe("M0.0 24.0L66.0 12.0L132.0 0.0");
});

test("when a value is missing, then the line breaks there", () => {
  expect(sparkPath([1, null, 3])).toBe("M0.0 24.0M132.0 0.0");
});

test("when there is nothing or one value, then no number is broken", () => {
  expect(sparkPath([])).toBe("");
  expect(sparkPath([5])).toBe("M0.0 24.0");
});
