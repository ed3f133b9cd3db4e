import type { ForecastStep } from "../../lib/forecast-view";
import { formatValue } from "../../lib/format";
import { formatStep } from "../../lib/time";

const HEADS = ["Median", "80 % low", "80 % high", "95 % low", "95 % high", "Actual", "Naive"];

interface ForecastTableProps {
  steps: ForecastStep[];
  stepMs: number;
  caption: string;
}

/** Numbers of the forecast chart, step by step. */
export function ForecastTable({ steps, stepMs, caption }: ForecastTableProps) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: a scrollable region must be reachable by keyboard
    <section className="scroll tall" tabIndex={0} aria-label={caption}>
      <table className="table dense" data-testid="forecast-table">
        <caption className="sr-only">{caption}</caption>
        <thead>
          <tr>
            <th scope="col">Time (UTC)</th>
            {HEADS.map((name) => (
              <th key={name} scope="col" className="num">
                {name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {steps.map((step) => (
            <tr key={step.time} data-time={new Date(step.time).toISOString()}>
              <th scope="row">{formatStep(step.time, stepMs)}</th>
              <Cell name="median" value={step.median} strong />
              <Cell name="lo-80" value={step.low80} />
              <Cell name="hi-80" value={step.high80} />
              <Cell name="lo-95" value={step.low95} />
              <Cell name="hi-95" value={step.high95} />
              <Cell name="actual" value={step.actual} outside={isOutside(step)} />
              <Cell name="naive" value={step.naive} />
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

const isOutside = ({ actual, low95, high95 }: ForecastStep) =>
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
