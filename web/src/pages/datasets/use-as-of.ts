import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect, useMemo, useState } from "react";
import { ProblemError } from "../../api/problem";
import { type SeriesRange, storedSeries } from "../../api/queries";
import type { Dataset, DatasetVersion } from "../../api/types";
import { parseFrequency, stepMs } from "../../lib/frequency";
import { countFates, diffSeries } from "../../lib/series-diff";
import { toIso } from "../../lib/time";
import { asOfScale, positionOf, timeAt } from "./as-of-scale";
import { chooseWindow, defaultAsOf, windowTimes } from "./as-of-window";
import { pinnedIn, useAddress } from "./use-address";

/** Time for which the slider must rest before the address follows it. */
const REST_MS = 140;

interface AsOfInputs {
  dataset: Dataset;
  /** The latest first. */
  versions: DatasetVersion[];
  series: string;
}

/** State of the as-of view: one series as it was known at the address's as-of, against what is known now. */
export function useAsOf({ dataset, versions, series }: AsOfInputs) {
  const { params, change } = useAddress();
  const [now] = useState(Date.now);
  const pin = pinnedIn(params);
  const version = versions.find(({ number }) => number === pin) ?? versions[0];
  if (!version) throw new Error("a dataset without a version has no as-of view");
  const pinned = version.number === pin;
  const scale = useMemo(
    () => asOfScale(version, dataset.publication_lag, versions, now),
    [version, dataset.publication_lag, versions, now],
  );
  const columns = ["y", ...dataset.roles.hist_exog.filter((c) => !dataset.roles.categorical.includes(c))];
  const column = columns.find((name) => name === params.get("column")) ?? "y";
  const { windows, window } = chooseWindow(version, scale, params.get("window"));

  const requested = parseAsOf(params.get("as_of"), now) ?? defaultAsOf(scale);
  const setTime = (time: number) => change({ as_of: time === now ? "now" : toIso(time) });
  const [draft, setDraft] = useDraft(setTime);
  const asOf = draft ?? requested;
  const [start, end] = windowTimes(version, scale, window, requested);
  const query = useSeriesPair({
    dataset: dataset.name,
    series,
    asOf: requested === now ? undefined : toIso(requested),
    domain: [start, end],
    range: {
      ...(window !== "all" && { start: toIso(start), end: toIso(end) }),
      version: pinned ? version.number : undefined,
    },
  });
  const rows = useMemo(
    () => (query.data ? diffSeries(query.data.then, query.data.now ?? NO_VALUES, column) : []),
    [query.data, column],
  );
  return {
    version,
    pinned,
    scale,
    now,
    /** As-of on display, which the slider may be moving. */
    asOf,
    /** As-of of the address. */
    requested,
    position: positionOf(scale, asOf),
    setPosition: (position: number) => setDraft(timeAt(scale, position)),
    setTime,
    columns,
    column,
    windows,
    window,
    showLater: params.get("later") === "1",
    change,
    query,
    deleted: query.data?.now === null,
    domain: query.data?.domain ?? ([start, end] as const),
    rows,
    counts: useMemo(() => countFates(rows), [rows]),
    stepMs: stepMs(parseFrequency(version.freq)),
  };
}

export type AsOfState = ReturnType<typeof useAsOf>;

const NO_VALUES = { ds: [], y: [], exog: {} };

function parseAsOf(text: string | null, now: number): number | null {
  if (text === "now") return now;
  const time = Date.parse(text ?? "");
  return Number.isNaN(time) ? null : time;
}

/** Time to which the slider is being moved: it moves at once, and is committed when it rests. */
function useDraft(commit: (time: number) => void) {
  const [draft, setDraft] = useState<number | null>(null);
  useEffect(() => {
    if (draft === null) return;
    const timer = setTimeout(() => {
      commit(draft);
      setDraft(null);
    }, REST_MS);
    return () => clearTimeout(timer);
  });
  return [draft, setDraft] as const;
}

interface SeriesPairInputs {
  dataset: string;
  series: string;
  /** Undefined for now. */
  asOf: string | undefined;
  domain: readonly [number, number];
  range: SeriesRange;
}

/** Query of a series as of then and as of now, with the domain it was read for. */
function useSeriesPair({ dataset, series, asOf, domain, range }: SeriesPairInputs) {
  const client = useQueryClient();
  return useQuery({
    queryKey: ["datasets", dataset, "as-of", series, asOf ?? "now", range],
    queryFn: async () => {
      const [then, now] = await Promise.all([
        client.fetchQuery(storedSeries(dataset, series, { ...range, as_of: asOf })),
        client.fetchQuery(storedSeries(dataset, series, range)).catch(nullIfDeleted),
      ]);
      return { then, now, domain };
    },
    enabled: series !== "",
    placeholderData: (previous, query) => (query?.queryKey[3] === series ? previous : undefined),
  });
}

/** Turn "not found" into null: a series that was deleted since then is not there now. */
function nullIfDeleted(error: unknown): null {
  if (error instanceof ProblemError && error.status === 404) return null;
  throw error;
}
