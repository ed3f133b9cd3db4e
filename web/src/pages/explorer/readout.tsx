import type { View } from "../../lib/forecast-view";
import { formatValue } from "../../lib/format";

interface ReadoutProps {
  view: View;
  cursor: number | null;
  showNaive: boolean;
}

/** The legend, which also tells the values under the cursor. */
export function Readout({ view, cursor, showNaive }: ReadoutProps) {
  const at = view.steps.find((s) => s.time === cursor);
  const past = view.history.find(([time]) => time === cursor)?.[1];
  const after = at?.actual ?? view.followed.find(([time]) => time === cursor)?.[1];
  const range = (low: number | null | undefined, high: number | null | undefined) =>
    low == null || high == null ? "" : `${formatValue(low)} – ${formatValue(high)}`;
  const value = (y: number | null | undefined) => (y == null ? "" : formatValue(y));
  return (
    <div className="readout">
      <Key kind="history" name="History" value={value(past)} />
      {view.steps.length > 0 && (
        <>
          <Key kind="median" name="Median" value={value(at?.median)} />
          <Key kind="band-80" name="80 %" value={range(at?.low80, at?.high80)} />
          <Key kind="band-95" name="95 %" value={range(at?.low95, at?.high95)} />
        </>
      )}
      <Key kind="actual" name="Actual" value={value(after)} />
      {showNaive && <Key kind="naive" name="Naive" value={value(at?.naive)} />}
    </div>
  );
}

function Key({ kind, name, value }: { kind: string; name: string; value: string }) {
  return (
    <span className="key">
      <i className={kind} />
      {name} {value && <b>{value}</b>}
    </span>
  );
}
