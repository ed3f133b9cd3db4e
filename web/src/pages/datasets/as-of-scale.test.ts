import { expect, test } from "vitest";
import { HOUR, toIso } from "../../lib/time";
import { asOfScale, positionAfter, positionOf, scaleMarks, timeAt } from "./as-of-scale";

const span = { first_ds: "2013-01-01T00:00:00Z", last_ds: "2013-01-10T00:00:00Z", freq: "h" };
const versions = [
  { number: 1, created_at: "2013-01-03T00:00:00Z" },
  { number: 2, created_at: "2020-06-01T09:00:00Z" },
];
const now = Date.parse("2026-01-01T00:00:00Z");
const scale = asOfScale(span, "PT2H", versions, now);

test("when a value is published late, then its position is the time it became known", () => {
  expect(toIso(timeAt(scale, 0))).toBe("2013-01-01T02:00:00Z");
  expect(scale.steps).toBe(9 * 24);
  expect(toIso(timeAt(scale, scale.steps))).toBe("2013-01-10T02:00:00Z");
});

test("when versions came after the end, then each has a stop, and the last position is now", () => {
  expect(scale.anchors.map((a) => a.name)).toEqual(["v2", "now"]);
  expect(toIso(timeAt(scale, scale.steps + scale.stretch))).toBe("2020-06-01T09:00:00Z");
  expect(timeAt(scale, scale.max)).toBe(now);
});

test("when a position is turned into a time and back, then it is the same position", () => {
  for (let position = 0; position <= scale.max; position += 1) {
    expect(positionOf(scale, timeAt(scale, position))).toBe(position);
  }
});

test("when a time lies outside, then it gets the nearest end", () => {
  expect(positionOf(scale, Date.parse("1990-01-01T00:00:00Z"))).toBe(0);
  expect(positionOf(scale, Date.parse("2030-01-01T00:00:00Z"))).toBe(scale.max);
});

test("when keys walk over the end of the steps, then they stop there and go on by stops", () => {
  expect(positionAfter(scale, 5, "ArrowRight")).toBe(6);
  expect(positionAfter(scale, 0, "ArrowLeft")).toBe(0);
  expect(positionAfter(scale, 0, "PageUp")).toBe(168);
  expect(positionAfter(scale, 100, "PageUp")).toBe(scale.steps);
  expect(positionAfter(scale, scale.steps, "ArrowRight")).toBe(scale.steps + scale.stretch / 10);
  expect(positionAfter(scale, scale.steps, "PageUp")).toBe(scale.steps + scale.stretch);
  expect(positionAfter(scale, scale.steps + scale.stretch, "PageDown")).toBe(scale.steps);
  expect(positionAfter(scale, scale.max, "ArrowUp")).toBe(scale.max);
  expect(positionAfter(scale, 5, "Tab")).toBeNull();
});

test("when months are walked, then each is its own length", () => {
  const months = asOfScale(
    { first_ds: "2020-01-01T00:00:00Z", last_ds: "2024-12-01T00:00:00Z", freq: "MS" },
    "P0D",
    [],
    now,
  );
  expect(months.steps).toBe(59);
  expect(toIso(timeAt(months, 2))).toBe("2020-03-01T00:00:00Z");
  expect(positionOf(months, Date.parse("2020-03-31T00:00:00Z"))).toBe(2);
});

test("when the data still grows, then nothing after now is a position", () => {
  const at = Date.parse("2013-01-05T00:00:00Z");
  const growing = asOfScale(span, "PT0S", versions, at);
  expect(timeAt(growing, growing.max)).toBe(at);
  expect(timeAt(growing, growing.steps)).toBeLessThanOrEqual(at);
  expect(at - timeAt(growing, growing.steps)).toBeLessThan(HOUR);
});

test("when marks are drawn, then they lie on the slider and the anchors are named", () => {
  const marks = scaleMarks(scale, 6);
  expect(marks.every(({ share }) => share >= 0 && share <= 1)).toBe(true);
  expect(marks.filter((m) => m.anchor).map((m) => m.label)).toEqual(["v2", "now"]);
});
