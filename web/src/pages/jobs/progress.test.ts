import { expect, test } from "vitest";
import type { JobEvent } from "../../api/types";
import { addEvent, NO_PROGRESS } from "./progress";

let seq = 0;
const event = (kind: JobEvent["kind"], message: string, data: JobEvent["data"] = {}): JobEvent => {
  seq += 1;
  return { seq, at: "2026-11-23T06:00:00Z", kind, message, data };
};

const EVENTS = [
  event("state", "running", { state: "RUNNING" }),
  event("progress", "read the panel"),
  event("step", "read the panel", { seconds: 1.5 }),
  event("progress", "backtest tft on 2 workers"),
  event("progress", "tft (backtest): step 20 of 200, loss 0.4"),
  event("metric", "tft", { mase: 0.7, failed: null }),
];

test("when events come in, then the first message opens a step and the rest are its notes", () => {
  const progress = EVENTS.reduce(addEvent, NO_PROGRESS);
  expect(progress.steps.map(({ name, seconds }) => [name, seconds])).toEqual([
    ["read the panel", 1.5],
    ["backtest tft on 2 workers", null],
  ]);
  expect(progress.note).toBe("tft (backtest): step 20 of 200, loss 0.4");
  expect(progress.metrics.tft).toEqual({ mase: 0.7, failed: null });
  expect(progress.state).toBe("RUNNING");
});

test("when the connection was dropped and events come twice, then the progress is the same", () => {
  const once = EVENTS.reduce(addEvent, NO_PROGRESS);
  expect([...EVENTS, ...EVENTS.slice(2)].reduce(addEvent, NO_PROGRESS)).toEqual(once);
});

test("when a step ends, then nothing stays open", () => {
  const progress = [...EVENTS, event("step", "backtest tft on 2 workers", { seconds: 41 })].reduce(
    addEvent,
    NO_PROGRESS,
  );
  expect(progress.steps.map((step) => step.seconds)).toEqual([1.5, 41]);
});
