import { useQuery } from "@tanstack/react-query";
import { lazy, Suspense, useMemo } from "react";
import { Link, useParams } from "react-router";
import { leaderboard } from "../../api/queries";
import type { Leaderboard, LeaderboardRow } from "../../api/types";
import { Badge, ButtonLink, Card, LoadingRows, Page, Skeleton } from "../../components/basics";
import { ProblemView } from "../../components/feedback";
import { familyName, formatBytes, formatMetric, formatPercent, plural } from "../../lib/format";
import { formatDateTime, formatSeconds } from "../../lib/time";

const BarChart = lazy(() => import("../../charts/bars"));

export function Component() {
  const id = useParams().id ?? "";
  const query = useQuery(leaderboard(id));
  return (
    <Page
      title={query.data ? `Leaderboard of ${query.data.model}` : "Leaderboard"}
      intro="Every family on the same rolling origins, against the best seasonal naive."
      back={{ to: `/jobs/${id}`, label: "The job" }}
      actions={query.data && <ButtonLink to={`/models/${query.data.model}`}>The model's versions</ButtonLink>}
    >
      {query.error && <ProblemView error={query.error} retry={() => query.refetch()} />}
      {query.isPending && (
        <Card flush>
          <LoadingRows />
        </Card>
      )}
      {query.data && <Board board={query.data} />}
    </Page>
  );
}

/** Return the MASE that skill is measured against: the best seasonal naive's. */
function naiveMase(rows: readonly LeaderboardRow[]): number | null {
  const values = rows.flatMap((r) => (r.family === "seasonal_naive" && r.mase !== null ? [r.mase] : []));
  return values.length ? Math.min(...values) : null;
}

function Board({ board }: { board: Leaderboard }) {
  const rows = useMemo(() => [...board.rows].sort((a, b) => a.rank - b.rank), [board.rows]);
  const bars = useMemo(
    () => rows.flatMap((r) => (r.mase === null ? [] : [{ name: r.model, value: r.mase, chosen: r.chosen }])),
    [rows],
  );
  const naive = naiveMase(rows);
  const failed = rows.filter((r) => r.failed !== null);
  const best = rows.find((r) => r.chosen);
  const label = `MASE of ${bars.length} models; ${best ? `${best.model} was chosen with ${formatMetric(best.mase)}` : "none was chosen"}; the best seasonal naive has ${formatMetric(naive)}. The table holds the numbers.`;
  return (
    <>
      <div className="split">
        <Card title="MASE, less is better">
          <Suspense fallback={<Skeleton height={bars.length * 38 + 62} />}>
            <BarChart bars={bars} reference={naive} referenceName="best seasonal naive" label={label} />
          </Suspense>
        </Card>
        <Card title="The experiment">
          <dl className="facts">
            <dt>Chosen</dt>
            <dd>
              {best ? <b>{best.model}</b> : "none"}
              {best?.family === "seasonal_naive" && ": nothing beat it"}
            </dd>
            {best?.skill != null && (
              <>
                <dt>Skill</dt>
                <dd>{formatPercent(best.skill)} over naive</dd>
              </>
            )}
            <dt>Dataset</dt>
            <dd>
              <Link to={`/datasets/${board.dataset}`}>{board.dataset}</Link> v{board.dataset_version}
            </dd>
            <dt>Horizon</dt>
            <dd>{board.h} steps</dd>
            <dt>Cutoffs</dt>
            <dd>
              {board.cutoffs.map((cutoff) => (
                <div key={cutoff}>{formatDateTime(cutoff)}</div>
              ))}
            </dd>
          </dl>
        </Card>
      </div>
      <Card flush>
        <BoardTable rows={rows} />
      </Card>
      {failed.length > 0 && (
        <p className="hint">
          {failed.length} of {rows.length} failed; the others were compared without them.
        </p>
      )}
    </>
  );
}

function BoardTable({ rows }: { rows: LeaderboardRow[] }) {
  const max = Math.max(...rows.map((r) => Math.abs(r.skill ?? 0)), 0.01);
  return (
    <div className="scroll">
      <table className="table board">
        <caption className="sr-only">Models, best first</caption>
        <thead>
          <tr>
            <th scope="col">Rank</th>
            <th scope="col">Model</th>
            <th scope="col">Skill over naive</th>
            {["MASE", "WQL", "WAPE", "80 % covers", "Took", "Size"].map((name) => (
              <th scope="col" className="num" key={name}>
                {name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((r) => (
            <tr key={`${r.rank} ${r.model}`} className={r.chosen ? "chosen" : r.failed ? "failed" : ""}>
              <td>{r.failed ? "–" : r.rank}</td>
              <th scope="row">
                {r.model}{" "}
                {r.chosen && (
                  <Badge tone="accent" icon="star">
                    chosen
                  </Badge>
                )}
                <div className="hint">{r.failed ?? familyName(r.family)}</div>
              </th>
              <td>
                {r.failed ? <Badge tone="bad">failed</Badge> : <SkillBar skill={r.skill} max={max} />}
                {!r.failed && <ComparisonNote row={r} />}
              </td>
              <td className="num">{formatMetric(r.mase)}</td>
              <td className="num">{formatMetric(r.wql)}</td>
              <td className="num">{formatPercent(r.wape)}</td>
              <td className="num">{formatPercent(r.coverage_80, 0)}</td>
              <td className="num">{formatSeconds(r.seconds)}</td>
              <td className="num">{formatBytes(r.size_bytes)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** Outcome of the test against the best seasonal naive, and use of the fallback chain. */
function ComparisonNote({ row }: { row: LeaderboardRow }) {
  const parts = [
    row.verdict &&
      (typeof row.p_value !== "number" ? row.verdict : `${row.verdict}, p = ${formatP(row.p_value)}`),
    row.fallbacks > 0 && `${plural(row.fallbacks, "series", "series")} by the fallback chain`,
  ].filter(Boolean);
  return parts.length > 0 ? <div className="hint">{parts.join("; ")}</div> : null;
}

const formatP = (p: number) => (p < 0.001 ? "< 0.001" : p.toFixed(3));

/** Bar to the right of the middle for better than naive, to the left for worse. */
function SkillBar({ skill, max }: { skill: number | null; max: number }) {
  if (skill === null) return "–";
  const width = `${(50 * Math.abs(skill)) / max}%`;
  return (
    <span className="skill">
      <span className="track" aria-hidden="true">
        <i className={skill >= 0 ? "gain" : "loss"} style={{ width }} />
      </span>
      <b>
        {skill > 0 ? "+" : ""}
        {formatPercent(skill)}
      </b>
    </span>
  );
}
