import { useInfiniteQuery } from "@tanstack/react-query";
import { useDeferredValue } from "react";
import { Link } from "react-router";
import { seriesPages } from "../../api/queries";
import { Button, ButtonLink, Card, LoadingRows } from "../../components/basics";
import { ProblemView } from "../../components/feedback";
import { formatCount } from "../../lib/format";
import type { Frequency } from "../../lib/frequency";
import { formatDate } from "../../lib/time";
import { SPARK_STEPS, Sparkline } from "./sparkline";
import { pinnedIn, useAddress } from "./use-address";

interface SeriesCardProps {
  name: string;
  freq: Frequency;
  chosen: string;
}

/** The series of the version; choosing one shows it above. */
export function SeriesCard({ name, freq, chosen }: SeriesCardProps) {
  const { params, change } = useAddress();
  const search = params.get("search") ?? "";
  const pages = useInfiniteQuery(seriesPages(name, useDeferredValue(search), pinnedIn(params)));
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
          onChange={(e) => change({ search: e.target.value })}
        />
      }
    >
      {pages.error && <ProblemView error={pages.error} retry={() => pages.refetch()} />}
      {pages.isPending ? (
        <LoadingRows rows={8} />
      ) : (
        <div className="scroll">
          <table className="table dense series-table">
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
                <th scope="col">
                  <span className="sr-only">Explore</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {items.map((s) => (
                <tr key={s.unique_id} className={s.unique_id === chosen ? "chosen" : undefined}>
                  <th scope="row">
                    <Link
                      to={addressOf(params, s.unique_id)}
                      aria-current={s.unique_id === chosen ? "true" : undefined}
                    >
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
                  <td className="num">
                    <ButtonLink
                      small
                      variant="ghost"
                      to={`/explorer?dataset=${name}&series=${encodeURIComponent(s.unique_id)}`}
                      icon="explorer"
                      aria-label={`Explore ${s.unique_id}`}
                      title="Explore"
                    />
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

function addressOf(params: URLSearchParams, series: string): string {
  const next = new URLSearchParams(params);
  next.set("series", series);
  return `?${next}`;
}
