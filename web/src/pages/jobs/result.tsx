import { Link } from "react-router";
import type { Job, JobResult, TrainResult } from "../../api/types";
import { Card } from "../../components/basics";
import { Notice } from "../../components/feedback";
import { formatFigure, inMetricOrder, metricName } from "../../lib/format";

type Row = Record<string, unknown>;

const isRow = (value: unknown): value is Row =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const isPlain = (value: unknown) => value !== null && typeof value !== "object";

/** Result of a job of any kind: the gate's decision, figures, tables. */
export function Result({ job, result }: { job: Job; result: JobResult }) {
  const gate = "gate" in result ? result.gate : null;
  const overall = "backtest" in result ? result.backtest.overall : [];
  const { gate: _, leaderboard: __, model: ___, backtest: ____, ...rest }: Row = result;
  const plain = Object.entries(rest).filter(([, value]) => isPlain(value));
  const tables = Object.entries(rest).flatMap(([name, value]) => {
    const rows = rowsOf(value);
    return rows ? [[name, rows] as const] : [];
  });
  return (
    <>
      {overall.length > 0 && (
        <Figures title="Backtest" rows={Object.fromEntries(overall.map((row) => [row.model, row.metrics]))} />
      )}
      {gate && <Gate gate={gate} model={"model" in job.spec ? job.spec.model : null} />}
      {plain.length > 0 && (
        <Card title="Result">
          <dl className="tiles">
            {plain.map(([name, value]) => (
              <div key={name}>
                <dt>{metricName(name)}</dt>
                <dd>{formatFigure(name, value)}</dd>
              </div>
            ))}
          </dl>
        </Card>
      )}
      {tables.map(([name, rows]) => (
        <Figures key={name} title={metricName(name)} rows={rows} />
      ))}
    </>
  );
}

/** Take rows of figures from `{name: {figure: value}}` or `[{figure: value}]`; null from anything else. */
function rowsOf(value: unknown): Record<string, Row> | null {
  if (Array.isArray(value) && value.length > 0 && value.every(isRow)) {
    return Object.fromEntries(value.map((row, i) => [String(i + 1), flat(row)]));
  }
  if (!isRow(value) || Object.keys(value).length === 0) return null;
  if (Object.values(value).every(isRow)) return value as Record<string, Row>;
  return { "": flat(value) };
}

function flat(row: Row): Row {
  return Object.fromEntries(
    Object.entries(row).flatMap(([name, value]) => (isRow(value) ? Object.entries(value) : [[name, value]])),
  );
}

function gateTitle(gate: TrainResult["gate"]): string {
  if (gate.replaces === false) return "The champion stays";
  if (gate.beats_naive ?? gate.passed) return "The gate passed";
  return gate.passed ? "Nothing beat seasonal naive" : "The gate refused";
}

function Gate({ gate, model }: { gate: TrainResult["gate"]; model: string | null }) {
  const passed = (gate.beats_naive ?? gate.passed) && gate.replaces !== false;
  return (
    <Notice tone={passed ? "good" : "warn"} title={gateTitle(gate)}>
      <p>{gate.reason}</p>
      {model && (
        <p>
          See <Link to={`/models/${model}`}>the versions of {model}</Link>.
        </p>
      )}
    </Notice>
  );
}

/** Table of figures: one row for each thing measured. */
export function Figures({ title, rows }: { title: string; rows: Record<string, Row> }) {
  const entries = Object.entries(rows);
  const names = [...new Set(entries.flatMap(([, row]) => Object.keys(row)))];
  const columns = inMetricOrder(names.filter((column) => entries.some(([, row]) => isPlain(row[column]))));
  if (columns.length === 0) return null;
  return (
    <Card title={title[0]?.toUpperCase() + title.slice(1)} flush>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a scrollable region must be reachable by keyboard */}
      <section className="scroll" tabIndex={0} aria-label={title}>
        <table className="table dense figures">
          <caption className="sr-only">{title}</caption>
          <thead>
            <tr>
              <th scope="col">
                <span className="sr-only">Of what</span>
              </th>
              {columns.map((column) => (
                <th scope="col" className="num" key={column}>
                  {metricName(column)}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {entries.map(([name, row]) => (
              <tr key={name}>
                <th scope="row">{name}</th>
                {columns.map((column) => (
                  <td className="num" key={column}>
                    {formatFigure(column, row[column])}
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </section>
    </Card>
  );
}
