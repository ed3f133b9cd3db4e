import { Card } from "../../components/basics";
import type { Accuracy } from "../../lib/forecast-view";
import { formatPercent, plural } from "../../lib/format";

interface AccuracyCardProps {
  accuracy: Accuracy;
  /** Season that the naive forecast repeats, such as "same hour last week". */
  naiveLabel: string;
  /** The version learned from these days; undefined where that is not recorded. */
  learned: boolean | undefined;
}

/** Error of a forecast against actuals that its version had not seen, beside the naive forecast's. */
export function AccuracyCard({ accuracy, naiveLabel, learned }: AccuracyCardProps) {
  return (
    <Card title="Against what followed">
      {learned === false || accuracy.wape === null ? (
        <Score accuracy={accuracy} naiveLabel={naiveLabel} />
      ) : (
        <NoVerdict learned={learned} />
      )}
    </Card>
  );
}

/** Words in place of a comparison that would flatter the model. */
function NoVerdict({ learned }: Pick<AccuracyCardProps, "learned">) {
  if (learned === undefined) {
    return (
      <p className="muted">
        It is not recorded which days this version learned from, so nothing is compared here.
      </p>
    );
  }
  return (
    <>
      <p>
        <b>Learned from these days</b>
      </p>
      <p className="muted">
        This version was trained on them: a comparison would say nothing of days that it has not seen. Choose
        an as-of at or after the one that it was trained with.
      </p>
    </>
  );
}

function Score({ accuracy, naiveLabel }: Omit<AccuracyCardProps, "learned">) {
  const { wape, naiveWape, coverage80, pairs } = accuracy;
  if (wape === null) {
    return (
      <p className="muted">
        No actuals have arrived for these hours yet. They will be compared here when they do.
      </p>
    );
  }
  const largest = Math.max(wape, naiveWape ?? 0) || 1;
  return (
    <div className="score">
      {naiveWape ? <Gain share={1 - wape / naiveWape} /> : null}
      <Meter name="Forecast" note="WAPE" share={wape} largest={largest} kind="forecast" />
      {naiveWape !== null && (
        <Meter name="Naive" note={naiveLabel} share={naiveWape} largest={largest} kind="naive" />
      )}
      <p className="hint">
        {plural(pairs, "step")} compared
        {coverage80 !== null && <>; {formatPercent(coverage80, 0)} of them inside the 80 % band</>}.
      </p>
    </div>
  );
}

function Gain({ share }: { share: number }) {
  return (
    <p className={share >= 0 ? "gain good" : "gain bad"}>
      <b>{formatPercent(Math.abs(share), 0)}</b>{" "}
      {share >= 0 ? "less error than naive" : "more error than naive"}
    </p>
  );
}

interface MeterProps {
  name: string;
  note: string;
  share: number;
  /** Share at which the bar is full. */
  largest: number;
  kind: "forecast" | "naive";
}

function Meter({ name, note, share, largest, kind }: MeterProps) {
  return (
    <div className="meter">
      <span>
        {name} <small>{note}</small>
      </span>
      <b>{formatPercent(share)}</b>
      <i className={kind} style={{ width: `${Math.max(2, (100 * share) / largest)}%` }} />
    </div>
  );
}
