import { type KeyboardEvent, useId, useMemo } from "react";
import { Field } from "../../components/basics";
import { formatMoment, parseField, toField } from "../../lib/time";
import { marksOf, placeAfter } from "./as-of-scale";
import type { Known } from "./use-as-of";

const MARKS = 7;

/** The time slider: an arrow key moves it by one step, Page Up and Page Down by one season. */
export function AsOfSlider({ known }: { known: Known }) {
  const { scale, place, asOf, now, setPlace } = known;
  const id = useId();
  const marks = useMemo(() => marksOf(scale, MARKS), [scale]);
  const onKeyDown = (event: KeyboardEvent) => {
    const next = placeAfter(scale, place, event.key);
    if (next === null || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    setPlace(next);
  };
  const share = scale.max ? place / scale.max : 1;
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
        value={place}
        aria-valuetext={asOf === now ? "now" : `${formatMoment(asOf)} UTC`}
        onKeyDown={onKeyDown}
        onChange={(event) => setPlace(Number(event.target.value))}
        style={{ "--at": share } as React.CSSProperties}
      />
      <div className="ruler" aria-hidden="true">
        {marks.map((mark) => (
          <span
            key={`${mark.label} ${mark.share}`}
            className={mark.anchor ? "anchor" : undefined}
            style={{ "--at": mark.share } as React.CSSProperties}
          >
            {mark.label}
          </span>
        ))}
      </div>
    </div>
  );
}

/** The same moment as a field, for one who knows it exactly. */
export function AsOfField({ known }: { known: Known }) {
  return (
    <Field label="As of (UTC)">
      {(id) => (
        <input
          id={id}
          className="input"
          type="datetime-local"
          required
          value={toField(new Date(known.asOf).toISOString())}
          onChange={(event) => {
            const moment = parseField(event.target.value);
            if (moment) known.setTime(Date.parse(moment));
          }}
        />
      )}
    </Field>
  );
}
