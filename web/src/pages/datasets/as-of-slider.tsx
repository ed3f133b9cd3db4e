import { type CSSProperties, type KeyboardEvent, useId, useMemo } from "react";
import { TimeField } from "../../components/fields";
import { formatDateTime, parseField, toField } from "../../lib/time";
import { positionAfter, scaleMarks } from "./as-of-scale";
import type { AsOfState } from "./use-as-of";

const MAX_DATES = 7;

/** Slider over the as-of times: an arrow key moves it by one step, Page Up and Page Down by one season. */
export function AsOfSlider({ state }: { state: AsOfState }) {
  const { scale, position, asOf, now, setPosition } = state;
  const id = useId();
  const marks = useMemo(() => scaleMarks(scale, MAX_DATES), [scale]);
  const onKeyDown = (event: KeyboardEvent) => {
    const next = positionAfter(scale, position, event.key);
    if (next === null || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    setPosition(next);
  };
  return (
    <div className="as-of">
      <label className="sr-only" htmlFor={id}>
        As of
      </label>
      <input
        id={id}
        type="range"
        min={0}
        max={scale.max}
        value={position}
        aria-valuetext={asOf === now ? "now" : `${formatDateTime(asOf)} UTC`}
        onKeyDown={onKeyDown}
        onChange={(event) => setPosition(Number(event.target.value))}
        style={at(scale.max ? position / scale.max : 1)}
      />
      <div className="ruler" aria-hidden="true">
        {marks.map((mark) => (
          <span
            key={`${mark.label} ${mark.share}`}
            className={mark.anchor ? "anchor" : undefined}
            style={at(mark.share)}
          >
            {mark.label}
          </span>
        ))}
      </div>
    </div>
  );
}

const at = (share: number) => ({ "--at": share }) as CSSProperties;

/** Field for the slider's time, to enter it exactly. */
export function AsOfField({ state }: { state: AsOfState }) {
  return (
    <TimeField
      label="As of (UTC)"
      required
      value={toField(new Date(state.asOf).toISOString())}
      onChange={(event) => {
        const time = parseField(event.target.value);
        if (time) state.setTime(Date.parse(time));
      }}
    />
  );
}
