import { LegendKey } from "../../components/legend-key";
import type { ForecastView } from "../../lib/forecast-view";
import { formatValue } from "../../lib/format";

interface ReadoutProps {
  view: ForecastView;
  cursor: number | null;
  showNaive: boolean;
}

/** Legend of the chart with the values under the cursor. */
export function Readout({ view, cursor, showNaive }: ReadoutProps) {
  const step = view.steps.find(({ time }) => time === cursor);
  const past = view.history.find(([time]) => time === cursor)?.[1];
  const actual = step?.actual ?? view.actuals.find(([time]) => time === cursor)?.[1];
  return (
    <div className="readout">
      <LegendKey kind="history" name="History" value={valueText(past)} />
      {view.steps.length > 0 && (
        <>
          <LegendKey kind="median" name="Median" value={valueText(step?.median)} />
          <LegendKey kind="band-80" name="80 %" value={bandText(step?.low80, step?.high80)} />
          <LegendKey kind="band-95" name="95 %" value={bandText(step?.low95, step?.high95)} />
        </>
      )}
      <LegendKey kind="actual" name="Actual" value={valueText(actual)} />
      {showNaive && <LegendKey kind="naive" name="Naive" value={valueText(step?.naive)} />}
    </div>
  );
}

type Value = number | null | undefined;

const valueText = (value: Value) => (value == null ? "" : formatValue(value));

const bandText = (low: Value, high: Value) =>
  low == null || high == null ? "" : `${formatValue(low)} – ${formatValue(high)}`;
