import { lazy, type ReactNode, Suspense, useState } from "react";
import { Skeleton } from "../../components/basics";
import { LegendKey } from "../../components/legend-key";
import { formatValue, plural } from "../../lib/format";
import type { DiffRow, FateCounts } from "../../lib/series-diff";
import { formatDateTime } from "../../lib/time";
import { changesText } from "./diff";
import type { AsOfState } from "./use-as-of";

const AsOfChart = lazy(() => import("../../charts/as-of"));

/** Chart of the as-of view below a sentence that sums it up and its legend. */
export function AsOfPlot({ state, label }: { state: AsOfState; label: string }) {
  const [cursor, setCursor] = useState<number | null>(null);
  const { counts, rows, showLater, query } = state;
  const placeholder = (
    <div className="plot">
      <Skeleton height={360} />
    </div>
  );
  return (
    <>
      <p className="as-of-summary" role="status" aria-busy={query.isPlaceholderData}>
        {query.data ? <Summary state={state} /> : "Reading…"}
      </p>
      <Legend counts={counts} row={rows.find(({ time }) => time === cursor)} showLater={showLater}>
        <label className="check small">
          <input
            type="checkbox"
            checked={showLater}
            onChange={(event) => state.change({ later: event.target.checked ? "1" : null })}
          />
          Show what became known later
        </label>
      </Legend>
      {query.data ? (
        <figure>
          <Suspense fallback={placeholder}>
            <AsOfChart
              rows={rows}
              asOf={state.asOf}
              stepMs={state.stepMs}
              domain={state.domain}
              showLater={showLater}
              label={label}
              cursor={cursor}
              onCursor={setCursor}
            />
          </Suspense>
        </figure>
      ) : (
        placeholder
      )}
    </>
  );
}

function Summary({ state: { counts, asOf, now } }: { state: AsOfState }) {
  if (asOf === now) return `Now ${plural(counts.known, "value")} on display are known.`;
  const when = <b>{formatDateTime(asOf)}</b>;
  if (counts.known === 0) return <>At {when} nothing on display was known yet.</>;
  return (
    <>
      At {when} we knew <b>{plural(counts.known, "value")}</b> on display: {changesText(counts)}
    </>
  );
}

interface LegendProps {
  counts: FateCounts;
  /** Row under the cursor. */
  row: DiffRow | undefined;
  showLater: boolean;
  children: ReactNode;
}

function Legend({ counts, row, showLater, children }: LegendProps) {
  const text = (value: number | null | undefined) => (value === undefined ? "" : formatValue(value));
  const differs = row !== undefined && row.fate !== "same";
  return (
    <div className="readout">
      <LegendKey kind="history" name="Known then" value={text(row?.was)} />
      {(counts.changed > 0 || showLater) && (
        <LegendKey kind="corrected" name="Known now" value={differs ? text(row.is) : ""} />
      )}
      {counts.vanished > 0 && <LegendKey kind="gone" name="Gone since" />}
      <span className="grow" />
      {children}
    </div>
  );
}
