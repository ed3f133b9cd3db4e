import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useMemo } from "react";
import { useSearchParams } from "react-router";
import { api } from "../../api/client";
import { unwrap } from "../../api/problem";
import * as queries from "../../api/queries";
import { forecastView } from "../../lib/forecast-view";
import { type Frequency, season, shift } from "../../lib/frequency";
import { toIso } from "../../lib/time";
import { paramsOf, type Selection } from "./selection";

const QUANTILES = [0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975];

/** Series as known then and as known now, and the forecast between them; ways to change the selection. */
export function useForecast(selection: Selection, freq: Frequency) {
  const [, setParams] = useSearchParams();
  const issued = useQuery({
    ...queries.forecast(selection.forecast ?? ""),
    enabled: Boolean(selection.forecast),
  });
  const entry = issued.data?.forecasts.find(({ unique_id }) => unique_id === selection.series);
  const { known, latest } = useSeriesReads(selection, freq, entry?.ds.at(-1));
  const issue = useIssueForecast();
  // Whoever has a forecast on screen and changes the question wants the new forecast.
  const change = (part: Partial<Selection>) => {
    const next = { ...selection, ...part };
    if (Object.keys(part).join() === "history") {
      setParams(paramsOf(next), { replace: true });
      return;
    }
    const complete = next.series && next.model && next.asOf && next.h;
    if (selection.forecast && complete) issue.mutate({ ...next, forecast: null });
    setParams(paramsOf({ ...next, forecast: null }));
  };
  const view = useMemo(
    () =>
      forecastView({
        asOf: selection.asOf,
        freq,
        known: known.data,
        latest: latest.data,
        forecast: entry,
        from: shift(Date.parse(selection.asOf), freq, -selection.history),
      }),
    [selection.asOf, selection.history, freq, known.data, latest.data, entry],
  );
  return {
    view,
    entry,
    forecast: issued.data,
    reading: known.isPending,
    issuing: issue.isPending,
    error: issue.error ?? known.error ?? latest.error ?? issued.error,
    change,
    issue: (part: Partial<Selection>) => issue.mutate({ ...selection, ...part, forecast: null }),
  };
}

export type ForecastState = ReturnType<typeof useForecast>;

/** Queries of the series up to as-of as known then, and from there on as known now. */
function useSeriesReads({ dataset, series, asOf, h, history }: Selection, freq: Frequency, last?: string) {
  const enabled = series !== "";
  const after = (steps: number) => toIso(shift(Date.parse(asOf), freq, steps));
  // The naive forecast needs two seasons, however little history is on display.
  const past = Math.max(history, 2 * season(freq).steps + h);
  const known = useQuery({
    ...queries.storedSeries(dataset, series, { as_of: asOf, start: after(-past), end: asOf }),
    enabled,
  });
  const latest = useQuery({
    ...queries.storedSeries(dataset, series, { start: after(-3), end: last ?? after(h) }),
    enabled,
  });
  return { known, latest };
}

/** Mutation that issues a forecast and puts its id into the address. */
function useIssueForecast() {
  const client = useQueryClient();
  const [, setParams] = useSearchParams();
  return useMutation({
    mutationFn: ({ model, h, series, asOf }: Selection) =>
      unwrap(
        api.POST("/v1/models/{ref}/forecasts", {
          params: { path: { ref: model } },
          body: { h, quantiles: QUANTILES, series: [{ unique_id: series }], as_of: asOf },
        }),
      ),
    onSuccess: (forecast, selection) => {
      client.setQueryData(queries.forecast(forecast.forecast_id).queryKey, forecast);
      setParams(paramsOf({ ...selection, forecast: forecast.forecast_id }), { replace: true });
    },
  });
}
