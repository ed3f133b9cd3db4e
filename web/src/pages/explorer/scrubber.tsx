import type { Point } from "../../lib/accuracy";
import type { ForecastStep } from "../../lib/forecast-view";
import { formatDateTime } from "../../lib/time";

interface ScrubberProps {
  steps: ForecastStep[];
  history: Point[];
  cursor: number | null;
  onCursor: (time: number | null) => void;
}

/** Slider over the chart's times, which moves the cursor by keyboard. */
export function Scrubber({ steps, history, cursor, onCursor }: ScrubberProps) {
  const times = [...history.map(([time]) => time), ...steps.map((step) => step.time)];
  if (times.length === 0) return null;
  const start = Math.max(0, history.length - 1);
  const index = cursor === null ? start : Math.max(0, times.indexOf(cursor));
  const step = steps.find(({ time }) => time === times[index]);
  const value = step ? stepText(step) : `value ${history[index]?.[1] ?? "missing"}`;
  return (
    <input
      className="scrubber"
      type="range"
      min={0}
      max={times.length - 1}
      value={index}
      aria-label="Move the cursor along the chart"
      aria-valuetext={`${formatDateTime(times[index] ?? 0)}: ${value}`}
      onFocus={() => cursor === null && onCursor(times[start] ?? null)}
      onBlur={() => onCursor(null)}
      onChange={(event) => onCursor(times[Number(event.target.value)] ?? null)}
    />
  );
}

const stepText = ({ median, low80, high80 }: ForecastStep) =>
  `median ${median?.toFixed(2)}, 80 % from ${low80?.toFixed(2)} to ${high80?.toFixed(2)}`;
