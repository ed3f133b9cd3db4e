import { describe, expect, test } from "vitest";
import { coverage, type Point, seasonalNaive, wape } from "./accuracy";
import { parseFrequency } from "./frequency";
import { HOUR } from "./time";

describe("WAPE", () => {
  test("when values are known, then it is the sum of errors over the sum of actuals", () => {
    expect(wape([10, 20, 30], [12, 18, 33])).toBeCloseTo(7 / 60);
  });

  test("when an actual or a forecast is missing, then its step does not count on either side", () => {
    expect(wape([10, null, 30], [12, 5, null])).toBeCloseTo(2 / 10);
  });

  test("when all actuals are zero or none has arrived, then it is undefined", () => {
    expect(wape([0, 0], [1, 2])).toBeNull();
    expect(wape([null], [1])).toBeNull();
  });

  test("when actual and forecast grow alike, then it stays", () => {
    const [y, f] = [
      [3, 5, 8],
      [4, 4, 9],
    ];
    expect(
      wape(
        y.map((v) => v * 7),
        f.map((v) => v * 7),
      ),
    ).toBeCloseTo(wape(y, f) ?? Number.NaN);
  });
});

test("when an actual lies on the edge of a band, then it is covered", () => {
  expect(coverage([1, 2, 3, null], [1, 3, 2, 0], [2, 4, 3, 9])).toBeCloseTo(2 / 3);
});

describe("seasonal naive", () => {
  const hourly = parseFrequency("h");
  const known: Point[] = Array.from({ length: 200 }, (_, i) => [i * HOUR, i]);

  test("when the same hour of last week is known, then it is that", () => {
    expect(seasonalNaive(known, [200 * HOUR, 201 * HOUR], hourly)).toEqual([32, 33]);
  });

  test("when the horizon reaches past a week, then the value comes from the week before, never from what follows", () => {
    expect(seasonalNaive(known, [(199 + 168) * HOUR, (200 + 168) * HOUR], hourly)).toEqual([199, 32]);
  });

  test("when nothing of a season is known, then there is no value", () => {
    expect(seasonalNaive(known.slice(190), [200 * HOUR], hourly)).toEqual([null]);
  });

  test("when steps are months, then it is the same month of last year, also in a leap year", () => {
    const months: Point[] = Array.from({ length: 24 }, (_, i) => [Date.UTC(2011, i, 1), i]);
    expect(seasonalNaive(months, [Date.UTC(2013, 0, 1), Date.UTC(2013, 2, 1)], parseFrequency("MS"))).toEqual(
      [12, 14],
    );
  });
});
