import { useInfiniteQuery, useQueries, useQuery } from "@tanstack/react-query";
import { useDeferredValue, useMemo, useState } from "react";
import { useSearchParams } from "react-router";
import * as queries from "../../api/queries";
import type { Dataset, DatasetVersion, SeriesSummary } from "../../api/types";
import { parseFrequency } from "../../lib/frequency";
import { defaultHistory } from "../../lib/history";
import { toIso } from "../../lib/time";
import { defaultAsOf, type ModelOption, modelOptions, type Selection } from "./selection";

/** Everything that can be chosen, and the selection: from the address, with defaults for what it omits. */
export function useChoices() {
  const [params] = useSearchParams();
  const [search, setSearch] = useState("");
  const datasets = useQuery(queries.datasets);
  const filled = datasets.data?.filter((item) => item.latest_version);
  const dataset = filled?.find(({ name }) => name === params.get("dataset")) ?? filled?.[0];
  const name = dataset?.name ?? "";
  const enabled = dataset !== undefined;
  const versions = useQuery({ ...queries.datasetVersions(name), enabled });
  const series = useInfiniteQuery({ ...queries.seriesPages(name, useDeferredValue(search)), enabled });
  const items = series.data?.pages.flatMap((page) => page.items) ?? [];
  const models = useModelOptions(name);
  const model = models.options.find(({ ref }) => ref === params.get("model")) ?? models.options[0];
  const version = versions.data?.[0];
  const freq = useMemo(() => parseFrequency(version?.freq ?? "h"), [version?.freq]);
  return {
    selection: dataset && version ? selectionOf(params, { dataset, version, items, model }) : null,
    dataset,
    freq,
    datasets: filled,
    series,
    items,
    modelOptions: models.options,
    modelVersions: models.versions,
    model,
    pending: datasets.isPending || models.pending || (enabled && (versions.isPending || series.isPending)),
    failed: [datasets, versions, series, models.query].find((query) => query.error),
    setSearch,
  };
}

export type Choices = ReturnType<typeof useChoices>;

/** References to the models of a dataset, out of every version of every model. */
function useModelOptions(dataset: string) {
  const query = useQuery(queries.models);
  const versions = useQueries({
    queries: (query.data ?? []).map((model) => queries.modelVersions(model.name)),
    combine: (results) => ({
      pending: results.some((result) => result.isPending),
      data: results.flatMap((result) => result.data ?? []),
    }),
  });
  return {
    query,
    pending: query.isPending || versions.pending,
    options: modelOptions(query.data ?? [], versions.data, dataset),
    versions: versions.data,
  };
}

interface Defaults {
  dataset: Dataset;
  version: DatasetVersion;
  items: SeriesSummary[];
  model: ModelOption | undefined;
}

function selectionOf(params: URLSearchParams, { dataset, version, items, model }: Defaults): Selection {
  const h = parseCount(params.get("h")) || model?.version.h || 24;
  return {
    dataset: dataset.name,
    series: params.get("series") ?? items[0]?.unique_id ?? "",
    model: params.get("model") ?? model?.ref ?? "",
    asOf: parseTime(params.get("as_of")) ?? defaultAsOf(dataset, version),
    h,
    history: parseCount(params.get("history")) || defaultHistory(parseFrequency(version.freq), h),
    forecast: params.get("forecast"),
  };
}

const parseCount = (text: string | null) => Math.max(0, Math.floor(Number(text))) || 0;
const parseTime = (text: string | null) =>
  text && !Number.isNaN(Date.parse(text)) ? toIso(Date.parse(text)) : null;
