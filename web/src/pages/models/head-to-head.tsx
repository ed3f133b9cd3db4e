import type { HeadToHead, ModelVersion } from "../../api/types";
import { formatFigure } from "../../lib/format";

/** Comparison of two versions that the gate of one of them holds; null where they were never compared. */
export function findHeadToHead(version: ModelVersion, other: ModelVersion): HeadToHead | null {
  const pair = [version.version, other.version].sort();
  for (const { gate } of [version, other]) {
    const row = gate.head_to_head as HeadToHead | null | undefined;
    if (row && String([row.challenger, row.incumbent].sort()) === String(pair)) return row;
  }
  return null;
}

/** Figures of two versions on the same windows, and what follows from them. */
export function HeadToHeadRow({ row }: { row: HeadToHead }) {
  const figures = [
    [`v${row.challenger}`, row.challenger_mase, row.challenger_wql],
    [`v${row.incumbent}`, row.incumbent_mase, row.incumbent_wql],
  ] as const;
  return (
    <>
      {row.incumbent_mase != null && (
        <table>
          <caption className="sr-only">Head to head, on the same windows</caption>
          <thead>
            <tr>
              <th scope="col">Version</th>
              <th scope="col">MASE</th>
              <th scope="col">WQL</th>
            </tr>
          </thead>
          <tbody>
            {figures.map(([name, mase, wql]) => (
              <tr key={name}>
                <th scope="row">{name}</th>
                <td>{mase == null ? "–" : formatFigure("mase", mase)}</td>
                <td>{wql == null ? "–" : formatFigure("wql", wql)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      <p>{row.reason}</p>
    </>
  );
}
