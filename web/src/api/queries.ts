import { infiniteQueryOptions, queryOptions } from "@tanstack/react-query";
import { api } from "./client";
import { ProblemError, unwrap } from "./problem";
import type { Job, JobState } from "./types";

export const isFinal = (state: JobState) => state !== "PENDING" && state !== "RUNNING";

export const me = queryOptions({
  queryKey: ["users", "me"],
  queryFn: ({ signal }) => unwrap(api.GET("/v1/users/me", { signal })),
  staleTime: 300_000,
});

export const users = queryOptions({
  queryKey: ["users"],
  queryFn: async ({ signal }) => (await unwrap(api.GET("/v1/users", { signal }))).items,
});

export const datasets = queryOptions({
  queryKey: ["datasets"],
  queryFn: async ({ signal }) => (await unwrap(api.GET("/v1/datasets", { signal }))).items,
});

export const dataset = (name: string) =>
  queryOptions({
    queryKey: ["datasets", name],
    queryFn: ({ signal }) => unwrap(api.GET("/v1/datasets/{name}", { params: { path: { name } }, signal })),
  });

export const datasetVersions = (name: string) =>
  queryOptions({
    queryKey: ["datasets", name, "versions"],
    queryFn: async ({ signal }) => {
      const params = { path: { name } };
      const { items } = await unwrap(api.GET("/v1/datasets/{name}/versions", { params, signal }));
      return items.sort((a, b) => b.number - a.number);
    },
  });

export const seriesPages = (name: string, search: string, version?: number) =>
  infiniteQueryOptions({
    queryKey: ["datasets", name, "series", { search, version }],
    queryFn: ({ pageParam: cursor, signal }) => {
      const query = { search: search || undefined, cursor, limit: 100, version };
      return unwrap(api.GET("/v1/datasets/{name}/series", { params: { path: { name }, query }, signal }));
    },
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (page) => page.next_cursor ?? undefined,
    placeholderData: (previous) => previous,
  });

export const versionReport = (name: string, number: number) =>
  queryOptions({
    queryKey: ["datasets", name, "versions", number, "report"],
    queryFn: ({ signal }) => {
      const params = { path: { name, number } };
      return unwrap(api.GET("/v1/datasets/{name}/versions/{number}/report", { params, signal }));
    },
    staleTime: Number.POSITIVE_INFINITY,
  });

export const revisionsOf = (name: string, series: string, version?: number) =>
  queryOptions({
    queryKey: ["datasets", name, "revisions", { series, version }],
    queryFn: async ({ signal }) => {
      const params = { path: { name }, query: { series, version } };
      return (await unwrap(api.GET("/v1/datasets/{name}/revisions", { params, signal }))).items;
    },
  });

/** Part of a stored series: its as-of, times and version. */
export interface SeriesRange {
  as_of?: string;
  start?: string;
  end?: string;
  version?: number;
}

export const storedSeries = (name: string, id: string, range: SeriesRange) =>
  queryOptions({
    queryKey: ["datasets", name, "series", id, range],
    queryFn: ({ signal }) => {
      const path = { name, unique_id: id };
      return unwrap(
        api.GET("/v1/datasets/{name}/series/{unique_id}", { params: { path, query: range }, signal }),
      );
    },
    staleTime: 60_000,
  });

export const jobPages = (filter: { state?: JobState; kind?: Job["kind"] }) =>
  infiniteQueryOptions({
    queryKey: ["jobs", filter],
    queryFn: ({ pageParam: cursor, signal }) =>
      unwrap(api.GET("/v1/jobs", { params: { query: { ...filter, cursor } }, signal })),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (page) => page.next_cursor ?? undefined,
    refetchInterval: (query) => {
      const busy = query.state.data?.pages.some((page) => page.items.some((job) => !isFinal(job.state)));
      return busy ? 2000 : 15_000;
    },
  });

export const job = (id: string) =>
  queryOptions({
    queryKey: ["jobs", id],
    queryFn: ({ signal }) =>
      unwrap(api.GET("/v1/jobs/{job_id}", { params: { path: { job_id: id } }, signal })),
    refetchInterval: (query) => (query.state.data && isFinal(query.state.data.state) ? false : 5000),
  });

export const jobLogs = (id: string, live: boolean) =>
  queryOptions({
    queryKey: ["jobs", id, "logs"],
    queryFn: ({ signal }) =>
      unwrap(api.GET("/v1/jobs/{job_id}/logs", { params: { path: { job_id: id } }, signal })),
    refetchInterval: live ? 3000 : false,
  });

export const leaderboard = (id: string) =>
  queryOptions({
    queryKey: ["experiments", id],
    queryFn: ({ signal }) =>
      unwrap(api.GET("/v1/experiments/{job_id}/leaderboard", { params: { path: { job_id: id } }, signal })),
  });

export const models = queryOptions({
  queryKey: ["models"],
  queryFn: async ({ signal }) => (await unwrap(api.GET("/v1/models", { signal }))).items,
});

export const modelVersions = (name: string) =>
  queryOptions({
    queryKey: ["models", name, "versions"],
    queryFn: async ({ signal }) => {
      const params = { path: { name } };
      const { items } = await unwrap(api.GET("/v1/models/{name}/versions", { params, signal }));
      return items.sort((a, b) => b.version - a.version);
    },
  });

export const forecast = (id: string) =>
  queryOptions({
    queryKey: ["forecasts", id],
    queryFn: ({ signal }) =>
      unwrap(api.GET("/v1/forecasts/{forecast_id}", { params: { path: { forecast_id: id } }, signal })),
    staleTime: Number.POSITIVE_INFINITY,
  });

/** Tell whether to repeat a request: only when the server failed or did not respond. */
export function worthRetrying(failures: number, error: Error): boolean {
  const refused = error instanceof ProblemError && error.status > 0 && error.status < 500;
  return !refused && failures < 2;
}
