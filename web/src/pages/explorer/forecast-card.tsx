import type { Forecast, SeriesForecast } from "../../api/types";
import { Badge, Card, CopyText } from "../../components/basics";
import { Notice } from "../../components/feedback";
import { familyName } from "../../lib/format";
import { formatDateTime } from "../../lib/time";
import { methodName, methodTone, reasonText } from "./labels";

interface ForecastCardProps {
  forecast: Forecast;
  entry: SeriesForecast;
}

/** Origin of a forecast: method, model, as-of and id, with the server's warnings. */
export function ForecastCard({ forecast, entry }: ForecastCardProps) {
  const { model } = forecast;
  return (
    <Card title="This forecast">
      <dl className="facts">
        <dt>Method</dt>
        <dd>
          <Badge tone={methodTone(entry.method)}>{methodName(entry.method)}</Badge>
          {entry.reason && <p className="hint">{reasonText(entry.reason)}</p>}
        </dd>
        <dt>Model</dt>
        <dd>
          {model.name} v{model.version}
          {model.alias && <> · {model.alias}</>}
          <div className="hint">{familyName(model.family)}</div>
        </dd>
        <dt>As of</dt>
        <dd>{formatDateTime(forecast.as_of)}</dd>
        <dt>Issued</dt>
        <dd>{formatDateTime(forecast.issued_at)}</dd>
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
  );
}

const shorten = (id: string) => (id.length > 18 ? `${id.slice(0, 9)}…${id.slice(-6)}` : id);
