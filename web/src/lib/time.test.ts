import { describe, expect, test } from "vitest";
import { DAY, durationMs, formatDuration, HOUR, parseField, timeTicks, toField, toIsoDuration } from "./time";

describe("time ticks", () => {
  test.each([6 * HOUR, 3 * DAY, 30 * DAY, 400 * DAY, 20 * 365 * DAY, 100 * 365 * DAY])(
    "when a span of %d ms is divided, then the ticks rise, lie within and are few",
    (span) => {
      const from = Date.UTC(2013, 11, 25, 5);
      const ticks = timeTicks(from, from + span, 8);
      const times = ticks.map((tick) => tick.time);
      expect(ticks.length).toBeGreaterThanOrEqual(1);
      expect(ticks.length).toBeLessThanOrEqual(10);
      expect(times).toEqual([...times].sort((a, b) => a - b));
      expect(times.every((time) => time >= from && time <= from + span)).toBe(true);
    },
  );

  test("when steps are hours, then midnights carry the date", () => {
    const labels = timeTicks(Date.UTC(2013, 11, 24, 12), Date.UTC(2013, 11, 25, 12), 6).map(
      (tick) => tick.label,
    );
    expect(labels).toEqual(["12:00", "18:00", "25 Dec", "06:00", "12:00"]);
  });
});

test("when a field's text is read and written back, then it is the same UTC time", () => {
  expect(parseField("2013-12-25T05:00")).toBe("2013-12-25T05:00:00Z");
  expect(toField("2013-12-25T05:00:00Z")).toBe("2013-12-25T05:00");
  expect(parseField("")).toBeNull();
});

test("when a lag is written for the API, then it is read back as the same length", () => {
  expect(durationMs(toIsoDuration({ count: 36, unit: "hours" }))).toBe(36 * HOUR);
  expect(durationMs(toIsoDuration({ count: 2, unit: "days" }))).toBe(2 * DAY);
  expect(formatDuration("P1DT2H")).toBe("1 d 2 h");
  expect(formatDuration("PT0S")).toBe("none");
});
