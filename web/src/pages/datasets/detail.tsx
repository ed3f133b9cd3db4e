import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { useDeferredValue } from "react";
import { Link, useParams, useSearchParams } from "react-router";
import { dataset, datasetVersions, seriesPages } from "../../api/queries";
import type { Dataset, DatasetVersion } from "../../api/types";
import { useMay } from "../../auth/use-session";
import { Badge, Button, ButtonLink, Card, CopyText, LoadingRows, Page } from "../../components/basics";
import { Empty, ProblemView } from "../../components/feedback";
import { formatCount } from "../../lib/format";
import { type Frequency, parseFrequency } from "../../lib/frequency";
import { formatAge, formatDate, formatDuration } from "../../lib/time";
import { SPARK_STEPS, Sparkline } from "./sparkline";

export function Component() {
  const name = useParams().name ?? "";
  const found = useQuery(dataset(name));
  const versions = useQuery(datasetVersions(name));
  const mayUpload = useMay("analyst");
  const mayTrain = useMay("ml_engineer");
  const error = found.error ?? versions.error;
  const filled = (versions.data?.length ?? 0) > 0;
  return (
    <Page
      title={name}
      intro={found.data?.description}
      back={{ to: "/datasets", label: "Datasets" }}
      actions={
        <>
          {mayUpload && (
            <ButtonLink to={`/datasets/${name}/upload`} icon="upload">
              Upload a version
            </ButtonLink>
          )}
          {mayTrain && filled && <ButtonLink to={`/jobs/new?dataset=${name}`}>Train a model</ButtonLink>}
          {filled && (
            <ButtonLink to={`/explorer?dataset=${name}`} variant="primary" icon="explorer">
              Explore
            </ButtonLink>
          )}
        </>
      }
    >
      {error && <ProblemView error={error} retry={() => found.refetch()} />}
      {found.data && (
        <div className="split">
          <div className="stack">
            {versions.data && filled ? (
              <SeriesCard name={name} freq={parseFrequency(versions.data[0]?.freq ?? "h")} />
            ) : (
              <Card flush>
                {versions.isPending ? (
                  <LoadingRows />
                ) : (
                  <Empty title="No version yet" command={`quantis data push ${name} FILE.csv`}>
                    The dataset is declared; its first file is still to come.
                  </Empty>
                )}
              </Card>
            )}
          </div>
          <div className="stack">
            <Declared dataset={found.data} />
            {versions.data && filled && <Versions versions={versions.data} />}
          </div>
        </div>
      )}
    </Page>
  );
}

function SeriesCard({ name, freq }: { name: string; freq: Frequency }) {
  const [params, setParams] = useSearchParams();
  const search = params.get("search") ?? "";
  const pages = useInfiniteQuery(seriesPages(name, useDeferredValue(search)));
  const items = pages.data?.pages.flatMap((page) => page.items) ?? [];
  const statics = [...new Set(items.flatMap((s) => Object.keys(s.static)))].slice(0, 4);
  return (
    <Card
      title="Series"
      flush
      actions={
        <input
          className="input search"
          type="search"
          aria-label="Search series"
          placeholder="Search series"
          value={search}
          onChange={(e) => setParams(e.target.value ? { search: e.target.value } : {}, { replace: true })}
        />
      }
    >
      {pages.error && <ProblemView error={pages.error} retry={() => pages.refetch()} />}
      {pages.isPending ? (
        <LoadingRows rows={8} />
      ) : (
        <div className="scroll">
          <table className="table dense">
            <caption className="sr-only">Series of {name}</caption>
            <thead>
              <tr>
                <th scope="col">Series</th>
                {statics.map((column) => (
                  <th scope="col" key={column}>
                    {column}
                  </th>
                ))}
                <th scope="col" className="num">
                  Rows
                </th>
                <th scope="col">From</th>
                <th scope="col">To</th>
                <th scope="col">Last {SPARK_STEPS} steps</th>
              </tr>
            </thead>
            <tbody>
              {items.map((s) => (
                <tr key={s.unique_id}>
                  <th scope="row">
                    <Link to={`/explorer?dataset=${name}&series=${encodeURIComponent(s.unique_id)}`}>
                      {s.unique_id}
                    </Link>
                  </th>
                  {statics.map((column) => (
                    <td key={column}>{s.static[column] ?? "–"}</td>
                  ))}
                  <td className="num">{formatCount(s.rows)}</td>
                  <td>{formatDate(s.first_ds)}</td>
                  <td>{formatDate(s.last_ds)}</td>
                  <td>
                    <Sparkline dataset={name} series={s} freq={freq} />
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
          {items.length === 0 && <p className="card-body muted">No series matches “{search}”.</p>}
        </div>
      )}
      {pages.hasNextPage && (
        <div className="card-body">
          <Button disabled={pages.isFetchingNextPage} onClick={() => pages.fetchNextPage()}>
            Show more
          </Button>
        </div>
      )}
    </Card>
  );
}

function Declared({ dataset: d }: { dataset: Dataset }) {
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

function Versions({ versions }: { versions: DatasetVersion[] }) {
  return (
    <Card title="Versions">
      <ol className="versions">
        {versions.map((v) => (
          <li key={v.number}>
            <b>v{v.number}</b>
            <span>
              {formatCount(v.rows)} rows, {formatCount(v.series)} series
              <small>
                {formatDate(v.first_ds)} to {formatDate(v.last_ds)}
              </small>
              <small>
                {formatAge(v.created_at)} by {v.created_by}
              </small>
              <CopyText
                text={v.content_hash}
                short={v.content_hash.slice(0, 12)}
                label="Copy the content hash"
              />
            </span>
          </li>
        ))}
      </ol>
    </Card>
  );
}
