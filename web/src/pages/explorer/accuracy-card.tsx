import type { Forecast, SeriesForecast } from "../../api/types";
import { Badge, Card, CopyText } from "../../components/basics";
import { Notice } from "../../components/feedback";
import type { Accuracy } from "../../lib/forecast-view";
import { familyName, formatPercent, plural } from "../../lib/format";
import { formatMoment } from "../../lib/time";

const RUNGS: Record<string, string> = {
  model: "From the model",
  seasonal_naive: "From seasonal naive",
  last_value: "From the last value",
  typical: "From the rest of the panel",
  none: "Refused",
};

const REASONS: Record<string, string> = {
  unknown_series: "The model has not seen this series.",
  short_history: "The history is too short for the model.",
  no_history: "There is no history to forecast from.",
  missing_future: "Values that the model needs in advance are missing.",
  model_failed: "The model failed on this series.",
};

interface VerdictProps {
  forecast: Forecast;
  entry: SeriesForecast;
  accuracy: Accuracy;
  naiveName: string;
}

/** How good it was, and where it comes from. */
export function Verdict({ forecast, entry, accuracy, naiveName }: VerdictProps) {
  const { model } = forecast;
  return (
    <div className="stack">
      <Card title="Against what followed">
        <Score accuracy={accuracy} naiveName={naiveName} />
      </Card>
      <Card title="This forecast">
        <dl className="facts">
          <dt>Answered</dt>
          <dd>
            <Badge tone={entry.rung === "model" ? "good" : entry.rung === "none" ? "bad" : "warn"}>
              {RUNGS[entry.rung] ?? entry.rung}
            </Badge>
            {entry.reason && <p className="hint">{REASONS[entry.reason] ?? entry.reason}</p>}
          </dd>
          <dt>Model</dt>
          <dd>
            {model.name} v{model.version}
            {model.alias && <> · {model.alias}</>}
            <div className="hint">{familyName(model.family)}</div>
          </dd>
          <dt>As of</dt>
          <dd>{formatMoment(forecast.as_of)}</dd>
          <dt>Issued</dt>
          <dd>{formatMoment(forecast.issued_at)}</dd>
          <dt>Id</dt>
          <dd>
            <CopyText
              text={forecast.forecast_id}
              short={shorten(forecast.forecast_id)}
              label="Copy the forecast id"
            />
          </dd>
        </dl>
        {forecast.warnings.map((warning) => (
          <Notice key={warning} tone="warn" title={warning} />
        ))}
      </Card>
    </div>
  );
}

const shorten = (id: string) => (id.length > 18 ? `${id.slice(0, 9)}…${id.slice(-6)}` : id);

function Score({ accuracy, naiveName }: { accuracy: Accuracy; naiveName: string }) {
  const { wape, naiveWape, coverage80, pairs } = accuracy;
  if (wape === null) {
    return (
      <p className="muted">
        No actuals have arrived for these hours yet. They will be compared here when they do.
      </p>
    );
  }
  const gain = naiveWape ? 1 - wape / naiveWape : null;
  const most = Math.max(wape, naiveWape ?? 0) || 1;
  return (
    <div className="score">
      {gain !== null && (
        <p className={gain >= 0 ? "gain good" : "gain bad"}>
          <b>{formatPercent(Math.abs(gain), 0)}</b>{" "}
          {gain >= 0 ? "less error than naive" : "more error than naive"}
        </p>
      )}
      <Meter name="Forecast" note="WAPE" value={wape} most={most} kind="forecast" />
      {naiveWape !== null && (
        <Meter name="Naive" note={naiveName} value={naiveWape} most={most} kind="naive" />
      )}
      <p className="hint">
        {plural(pairs, "step")} compared
        {coverage80 !== null && <>; {formatPercent(coverage80, 0)} of them inside the 80 % band</>}.
      </p>
    </div>
  );
}

interface MeterProps {
  name: string;
  note: string;
  value: number;
  most: number;
  kind: string;
}

function Meter({ name, note, value, most, kind }: MeterProps) {
  return (
    <div className="meter">
      <span>
        {name} <small>{note}</small>
      </span>
      <b>{formatPercent(value)}</b>
      <i className={kind} style={{ width: `${Math.max(2, (100 * value) / most)}%` }} />
    </div>
  );
}
