import type { Dataset } from "../../api/types";
import { Badge, Card } from "../../components/basics";
import { formatDuration } from "../../lib/time";

/** Declaration of the dataset, which the owner made once. */
export function Declared({ dataset: d }: { dataset: Dataset }) {
  const groups = [
    ["Known in advance", d.roles.futr_exog],
    ["Observed", d.roles.hist_exog],
    ["Fixed", d.roles.stat_exog],
  ] as const;
  return (
    <Card title="Declared">
      <dl className="facts">
        {groups.map(([name, columns]) => (
          <Columns key={name} name={name} columns={columns} />
        ))}
        <dt>Frequency</dt>
        <dd>{d.freq ? <code>{d.freq}</code> : "found out"}</dd>
        <dt>Published after</dt>
        <dd>{formatDuration(d.publication_lag)}</dd>
        <dt>Time zone</dt>
        <dd>{d.time_zone}</dd>
        <dt>Holidays</dt>
        <dd>{d.holidays ?? "none"}</dd>
      </dl>
    </Card>
  );
}

function Columns({ name, columns }: { name: string; columns: readonly string[] }) {
  return (
    <>
      <dt>{name}</dt>
      <dd>{columns.length ? columns.map((c) => <Badge key={c}>{c}</Badge>) : "–"}</dd>
    </>
  );
}
