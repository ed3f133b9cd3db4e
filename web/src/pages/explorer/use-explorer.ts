import { useInfiniteQuery, useMutation, useQueries, useQuery, useQueryClient } from "@tanstack/react-query";
import { useDeferredValue, useMemo, useState } from "react";
import { useSearchParams } from "react-router";
import { api } from "../../api/client";
import { unwrap } from "../../api/problem";
import * as queries from "../../api/queries";
import { buildView } from "../../lib/forecast-view";
import { parseFrequency, season, shift } from "../../lib/frequency";
import { defaultHistory } from "../../lib/history";
import { toIso } from "../../lib/time";
import { defaultAsOf, modelOptions, paramsOf, type Selection } from "./selection";

const QUANTILES = [0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975];

const countOf = (text: string | null) => Math.max(0, Math.floor(Number(text))) || 0;
const momentOf = (text: string | null) =>
  text && !Number.isNaN(Date.parse(text)) ? toIso(Date.parse(text)) : null;

/** Everything that can be chosen, with the address deciding and sensible defaults where it is silent. */
export function useChoices() {
  const [params] = useSearchParams();
  const [search, setSearch] = useState("");
  const datasets = useQuery(queries.datasets);
  const filled = datasets.data?.filter((d) => d.latest_version);
  const dataset = filled?.find((d) => d.name === params.get("dataset")) ?? filled?.[0];
  const named = { enabled: dataset !== undefined };
  const versions = useQuery({ ...queries.datasetVersions(dataset?.name ?? ""), ...named });
  const series = useInfiniteQuery({
    ...queries.seriesPages(dataset?.name ?? "", useDeferredValue(search)),
    ...named,
  });
  const models = useQuery(queries.models);
  const modelVersions = useQueries({
    queries: (models.data ?? []).map((model) => queries.modelVersions(model.name)),
    combine: (results) => ({
      pending: results.some((r) => r.isPending),
      data: results.flatMap((r) => r.data ?? []),
    }),
  });
  const options = modelOptions(models.data ?? [], modelVersions.data, dataset?.name ?? "");
  const ids = series.data?.pages.flatMap((page) => page.items) ?? [];
  const model = options.find((o) => o.ref === params.get("model")) ?? options[0];
  const version = versions.data?.[0];
  const freq = useMemo(() => parseFrequency(version?.freq ?? "h"), [version?.freq]);
  const h = countOf(params.get("h")) || model?.version.h || 24;
  const selection: Selection | null =
    dataset && version
      ? {
          dataset: dataset.name,
          series: params.get("series") ?? ids[0]?.unique_id ?? "",
          model: params.get("model") ?? model?.ref ?? "",
          asOf: momentOf(params.get("as_of")) ?? defaultAsOf(dataset, version, h),
          h,
          history: countOf(params.get("history")) || defaultHistory(freq, h),
          forecast: params.get("forecast"),
        }
      : null;
  const failed = [datasets, versions, series, models].find((q) => q.error);
  const pending =
    datasets.isPending ||
    models.isPending ||
    (named.enabled && (versions.isPending || series.isPending)) ||
    (models.data?.length ? modelVersions.pending : false);
  return {
    selection,
    dataset,
    version,
    freq,
    datasets: filled,
    series,
    ids,
    models,
    options,
    model,
    pending,
    failed,
    setSearch,
  };
}

export type Choices = ReturnType<typeof useChoices>;

/** The stored series as it was known and as it is now, and the forecast between them. */
export function useExplorer(choices: Choices) {
  const { selection, freq } = choices;
  const client = useQueryClient();
  const [, setParams] = useSearchParams();
  const ready = Boolean(selection?.series);
  const asOf = Date.parse(selection?.asOf ?? "");
  const reach = Math.max(selection?.history ?? 0, 2 * season(freq).steps + (selection?.h ?? 0));
  const name = selection?.dataset ?? "";
  const id = selection?.series ?? "";
  const from = ready ? shift(asOf, freq, -(selection?.history ?? 0)) : 0;

  const issued = useQuery({
    ...queries.forecast(selection?.forecast ?? ""),
    enabled: Boolean(selection?.forecast),
  });
  const entry = issued.data?.forecasts.find((f) => f.unique_id === id);
  const start = ready ? toIso(shift(asOf, freq, -reach)) : undefined;
  const known = useQuery({
    ...queries.storedSeries(name, id, { as_of: selection?.asOf, start, end: selection?.asOf }),
    enabled: ready,
  });
  const until = entry?.ds.at(-1) ?? (ready ? toIso(shift(asOf, freq, selection?.h ?? 24)) : undefined);
  const now = useQuery({
    ...queries.storedSeries(name, id, {
      start: ready ? toIso(shift(asOf, freq, -3)) : undefined,
      end: until,
    }),
    enabled: ready,
  });

  const choose = (change: Partial<Selection>) => {
    if (!selection) return;
    const next = { ...selection, ...change };
    setParams(paramsOf(next), { replace: Object.keys(change).join() === "history" });
  };
  const ask = useMutation({
    mutationFn: (wanted: Selection) =>
      unwrap(
        api.POST("/v1/models/{ref}/forecasts", {
          params: { path: { ref: wanted.model } },
          body: {
            h: wanted.h,
            quantiles: QUANTILES,
            series: [{ unique_id: wanted.series }],
            as_of: wanted.asOf,
          },
        }),
      ),
    onSuccess: (answer, wanted) => {
      client.setQueryData(queries.forecast(answer.forecast_id).queryKey, answer);
      setParams(paramsOf({ ...wanted, forecast: answer.forecast_id }), { replace: true });
    },
  });
  const view = useMemo(
    () =>
      buildView({
        asOf: selection?.asOf ?? "",
        freq,
        known: known.data,
        now: now.data,
        forecast: entry,
        from,
      }),
    [selection?.asOf, freq, known.data, now.data, entry, from],
  );
  return { view, entry, issued, known, now, ask, choose };
}
