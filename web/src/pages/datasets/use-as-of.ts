import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect, useMemo, useState } from "react";
import { ProblemError } from "../../api/problem";
import { storedSeries } from "../../api/queries";
import type { Dataset, DatasetVersion } from "../../api/types";
import { parseFrequency, shift, stepMs } from "../../lib/frequency";
import { historyChoices } from "../../lib/history";
import { compare, countFates } from "../../lib/series-diff";
import { toIso } from "../../lib/time";
import { asOfScale, placeOf, timeAt } from "./as-of-scale";
import { pinnedIn, useAddress } from "./use-address";

/** A series of at most this many rows is shown whole unless somebody asks otherwise. */
const SMALL = 2000;
/** A series of at most this many rows can be read whole at every stop of the slider. */
const WHOLE = 20_000;
const PAUSE_MS = 140;

interface Inputs {
  dataset: Dataset;
  /** The latest first. */
  versions: DatasetVersion[];
  series: string;
}

/** One series as it was known at the as-of of the address, against what is known now. */
export function useKnown({ dataset, versions, series }: Inputs) {
  const { params, change } = useAddress();
  const [now] = useState(Date.now);
  const pinned = pinnedIn(params);
  const version = versions.find((v) => v.number === pinned) ?? versions[0];
  if (!version) throw new Error("a dataset without a version has nothing to know");
  const freq = useMemo(() => parseFrequency(version.freq), [version.freq]);
  const scale = useMemo(
    () => asOfScale(version, dataset.publication_lag, versions, now),
    [version, dataset.publication_lag, versions, now],
  );
  const columns = ["y", ...dataset.roles.hist_exog.filter((c) => !dataset.roles.categorical.includes(c))];
  const column = columns.find((c) => c === params.get("column")) ?? "y";

  const typical = version.rows / Math.max(1, version.series);
  const windows = [
    ...historyChoices(freq)
      .filter(({ steps }) => steps < scale.steps)
      .map(({ steps, label }) => ({ name: String(steps), label })),
    ...(typical <= WHOLE ? [{ name: "all", label: "All" }] : []),
  ];
  const usual = typical <= SMALL ? windows.at(-1) : (windows[2] ?? windows.at(-1));
  const window = (windows.find(({ name }) => name === params.get("window")) ?? usual)?.name ?? "all";

  const asked = momentOf(params.get("as_of"), now) ?? usualMoment(scale);
  // The slider moves at once; the address and what is read follow when it rests.
  const [draft, setDraft] = useState<number | null>(null);
  const asOf = draft ?? asked;
  const commit = (time: number) => change({ as_of: time === now ? "now" : toIso(time) });
  useEffect(() => {
    if (draft === null) return;
    const timer = setTimeout(() => {
      commit(draft);
      setDraft(null);
    }, PAUSE_MS);
    return () => clearTimeout(timer);
  });

  const domain = domainOf(version, scale, window, asked);
  const bounds = window === "all" ? {} : { start: toIso(domain[0]), end: toIso(domain[1]) };
  const client = useQueryClient();
  const at = asked === now ? undefined : toIso(asked);
  const read = { ...bounds, version: pinned ? version.number : undefined };
  const known = useQuery({
    queryKey: ["datasets", dataset.name, "known", series, at ?? "now", read],
    queryFn: async () => {
      const [before, current] = await Promise.all([
        client.fetchQuery(storedSeries(dataset.name, series, { ...read, as_of: at })),
        client.fetchQuery(storedSeries(dataset.name, series, read)).catch(gone),
      ]);
      return { before, current, domain };
    },
    enabled: series !== "",
    placeholderData: (before, query) => (query?.queryKey[3] === series ? before : undefined),
  });
  const rows = useMemo(
    () => (known.data ? compare(known.data.before, known.data.current ?? NOTHING, column) : []),
    [known.data, column],
  );
  return {
    version,
    pinned: pinned !== undefined && version.number === pinned,
    scale,
    now,
    asOf,
    asked,
    place: placeOf(scale, asOf),
    setPlace: (place: number) => setDraft(timeAt(scale, place)),
    setTime: commit,
    columns,
    column,
    windows,
    window,
    showLater: params.get("later") === "1",
    change,
    known,
    deleted: known.data?.current === null,
    domain: known.data?.domain ?? domain,
    rows,
    counts: useMemo(() => countFates(rows), [rows]),
    stepMs: stepMs(freq),
  };
}

export type Known = ReturnType<typeof useKnown>;

const NOTHING = { ds: [], y: [], exog: {} };

/** A series that was deleted since then is not there now. */
function gone(error: unknown): null {
  if (error instanceof ProblemError && error.status === 404) return null;
  throw error;
}

function momentOf(text: string | null, now: number): number | null {
  if (text === "now") return now;
  const time = Date.parse(text ?? "");
  return Number.isNaN(time) ? null : time;
}

/** Where to look first: some way before the end, so that there is something that came later. */
const usualMoment = (scale: ReturnType<typeof asOfScale>) =>
  timeAt(scale, scale.steps - Math.min(Math.round(scale.steps / 4), 168));

/** The times that the chart spans: all of them, or a window that ends a little after the as-of. */
function domainOf(
  version: DatasetVersion,
  scale: ReturnType<typeof asOfScale>,
  window: string,
  asOf: number,
): [number, number] {
  const [first, last] = [Date.parse(version.first_ds), Date.parse(version.last_ds)];
  if (window === "all") return [first, last];
  const steps = Number(window);
  const middle = Math.min(asOf, timeAt(scale, scale.steps));
  const start = Math.max(first, shift(middle, scale.freq, -steps));
  const end = Math.min(last, shift(start, scale.freq, Math.round(steps * 1.25)));
  return [start, Math.max(start, end)];
}
