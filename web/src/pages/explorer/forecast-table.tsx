import type { Step } from "../../lib/forecast-view";
import { formatValue } from "../../lib/format";
import { formatStep } from "../../lib/time";

interface TwinProps {
  steps: Step[];
  step: number;
  caption: string;
}

/** The forecast as a table: what the chart shows, number by number. */
export function ForecastTable({ steps, step, caption }: TwinProps) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: a scrollable region must be reachable by keyboard
    <section className="scroll twin" tabIndex={0} aria-label={caption}>
      <table className="table dense" data-testid="forecast-table">
        <caption className="sr-only">{caption}</caption>
        <thead>
          <tr>
            <th scope="col">Time (UTC)</th>
            <th scope="col" className="num">
              Median
            </th>
            <th scope="col" className="num">
              80 % low
            </th>
            <th scope="col" className="num">
              80 % high
            </th>
            <th scope="col" className="num">
              95 % low
            </th>
            <th scope="col" className="num">
              95 % high
            </th>
            <th scope="col" className="num">
              Actual
            </th>
            <th scope="col" className="num">
              Naive
            </th>
          </tr>
        </thead>
        <tbody>
          {steps.map((s) => (
            <tr key={s.time} data-time={new Date(s.time).toISOString()}>
              <th scope="row">{formatStep(s.time, step)}</th>
              <Cell name="median" value={s.median} strong />
              <Cell name="lo-80" value={s.low80} />
              <Cell name="hi-80" value={s.high80} />
              <Cell name="lo-95" value={s.low95} />
              <Cell name="hi-95" value={s.high95} />
              <Cell name="actual" value={s.actual} outside={isOutside(s)} />
              <Cell name="naive" value={s.naive} />
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

const isOutside = ({ actual, low95, high95 }: Step) =>
  actual !== null && low95 !== null && high95 !== null && (actual < low95 || actual > high95);

interface CellProps {
  name: string;
  value: number | null;
  strong?: boolean;
  outside?: boolean;
}

function Cell({ name, value, strong, outside }: CellProps) {
  return (
    <td className="num" data-column={name} data-value={value ?? ""}>
      {strong ? <b>{formatValue(value)}</b> : formatValue(value)}
      {outside && (
        <span className="outside" title="Outside the 95 % band">
          <span className="sr-only"> outside the 95 % band</span>
        </span>
      )}
    </td>
  );
}
