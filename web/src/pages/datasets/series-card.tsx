import { useInfiniteQuery } from "@tanstack/react-query";
import { useDeferredValue } from "react";
import { Link } from "react-router";
import { seriesPages } from "../../api/queries";
import type { SeriesSummary } from "../../api/types";
import { Button, ButtonLink, Card, LoadingRows } from "../../components/basics";
import { ProblemView } from "../../components/feedback";
import { formatCount } from "../../lib/format";
import type { Frequency } from "../../lib/frequency";
import { formatDate } from "../../lib/time";
import { SPARK_STEPS, Sparkline } from "./sparkline";
import { addressWith, pinnedIn, useAddress } from "./use-address";

/** Static columns beside the series, at most. */
const MAX_STATICS = 4;

interface SeriesCardProps {
  dataset: string;
  freq: Frequency;
  /** Series on display above. */
  selected: string;
}

/** Series of the version, with a search; a link shows one of them above. */
export function SeriesCard({ dataset, freq, selected }: SeriesCardProps) {
  const { params, change } = useAddress();
  const search = params.get("search") ?? "";
  const pages = useInfiniteQuery(seriesPages(dataset, useDeferredValue(search), pinnedIn(params)));
  const items = pages.data?.pages.flatMap((page) => page.items) ?? [];
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
          onChange={(event) => change({ search: event.target.value })}
        />
      }
    >
      {pages.error && <ProblemView error={pages.error} retry={() => pages.refetch()} />}
      {pages.isPending ? (
        <LoadingRows rows={8} />
      ) : (
        <div className="scroll">
          <SeriesTable dataset={dataset} freq={freq} selected={selected} items={items} />
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

function SeriesTable({ items, selected, ...rest }: SeriesCardProps & { items: SeriesSummary[] }) {
  const names = new Set(items.flatMap((item) => Object.keys(item.static)));
  const statics = [...names].slice(0, MAX_STATICS);
  return (
    <table className="table dense series-table">
      <caption className="sr-only">Series of {rest.dataset}</caption>
      <thead>
        <tr>
          {["Series", ...statics].map((name) => (
            <th scope="col" key={name}>
              {name}
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
        {items.map((item) => (
          <SeriesRow
            key={item.unique_id}
            series={item}
            statics={statics}
            selected={item.unique_id === selected}
            {...rest}
          />
        ))}
      </tbody>
    </table>
  );
}

interface SeriesRowProps {
  dataset: string;
  freq: Frequency;
  series: SeriesSummary;
  statics: string[];
  selected: boolean;
}

function SeriesRow({ dataset, freq, series, statics, selected }: SeriesRowProps) {
  const { params } = useAddress();
  const id = series.unique_id;
  return (
    <tr className={selected ? "chosen" : undefined}>
      <th scope="row">
        <Link to={addressWith(params, { series: id })} aria-current={selected ? "true" : undefined}>
          {id}
        </Link>
      </th>
      {statics.map((column) => (
        <td key={column}>{series.static[column] ?? "–"}</td>
      ))}
      <td className="num">{formatCount(series.rows)}</td>
      <td>{formatDate(series.first_ds)}</td>
      <td>{formatDate(series.last_ds)}</td>
      <td>
        <Sparkline dataset={dataset} series={series} freq={freq} />
      </td>
      <td className="num">
        <ButtonLink
          small
          variant="ghost"
          to={`/explorer?dataset=${dataset}&series=${encodeURIComponent(id)}`}
          icon="explorer"
          aria-label={`Explore ${id}`}
          title="Explore"
        />
      </td>
    </tr>
  );
}
