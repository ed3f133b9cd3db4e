/** Queries behind the pages of accounts, teams, quotas, the audit trail and approvals. */

import { infiniteQueryOptions, queryOptions } from "@tanstack/react-query";
import { api } from "./client";
import { unwrap } from "./problem";
import type { Approval, AuditEvent } from "./types";

export const sessions = queryOptions({
  queryKey: ["sessions"],
  queryFn: async ({ signal }) => (await unwrap(api.GET("/v1/users/me/sessions", { signal }))).items,
});

export const apiKeys = (owner: "me" | "team") =>
  queryOptions({
    queryKey: ["api-keys", owner],
    queryFn: async ({ signal }) =>
      (await unwrap(api.GET("/v1/api-keys", { params: { query: { of: owner } }, signal }))).items,
  });

export const serviceAccounts = queryOptions({
  queryKey: ["clients"],
  queryFn: async ({ signal }) => (await unwrap(api.GET("/v1/clients", { signal }))).items,
});

export const teams = queryOptions({
  queryKey: ["teams"],
  queryFn: async ({ signal }) => (await unwrap(api.GET("/v1/teams", { signal }))).items,
});

export const usageOfTeams = queryOptions({
  queryKey: ["usage", "teams"],
  queryFn: async ({ signal }) => (await unwrap(api.GET("/v1/usage/teams", { signal }))).items,
});

export const usage = queryOptions({
  queryKey: ["usage"],
  queryFn: ({ signal }) => unwrap(api.GET("/v1/usage", { signal })),
  refetchInterval: 15_000,
});

export interface AuditFilter {
  actor?: string;
  action?: string;
  outcome?: AuditEvent["outcome"];
  since?: string;
  until?: string;
}

export const auditPages = (filter: AuditFilter) =>
  infiniteQueryOptions({
    queryKey: ["audit", filter],
    queryFn: ({ pageParam: cursor, signal }) =>
      unwrap(api.GET("/v1/audit-events", { params: { query: { ...filter, cursor } }, signal })),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (page) => page.next_cursor ?? undefined,
    placeholderData: (previous) => previous,
  });

export const approvalPages = (state?: Approval["state"]) =>
  infiniteQueryOptions({
    queryKey: ["approvals", { state }],
    queryFn: ({ pageParam: cursor, signal }) =>
      unwrap(api.GET("/v1/approvals", { params: { query: { state, cursor } }, signal })),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (page) => page.next_cursor ?? undefined,
    refetchInterval: 15_000,
  });

export const modelTraffic = (name: string) =>
  queryOptions({
    queryKey: ["models", name, "traffic"],
    queryFn: ({ signal }) =>
      unwrap(api.GET("/v1/models/{name}/traffic", { signal, params: { path: { name } } })),
  });

export const modelExperiments = (name: string) =>
  queryOptions({
    queryKey: ["models", name, "experiments"],
    queryFn: async ({ signal }) =>
      (await unwrap(api.GET("/v1/experiments-online", { params: { query: { model: name } }, signal }))).items,
    refetchInterval: 30_000,
  });

export const modelPolicy = (name: string) =>
  queryOptions({
    queryKey: ["models", name, "policy"],
    queryFn: async ({ signal }) =>
      (await unwrap(api.GET("/v1/models/{name}/policy", { params: { path: { name } }, signal }))).policy,
  });
