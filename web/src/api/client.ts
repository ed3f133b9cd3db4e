import createClient from "openapi-fetch";
import { session } from "../auth/session";
import { problemOf } from "./problem";
import type { paths } from "./schema";
import type { CheckReport, UploadResult } from "./types";

export const api = createClient<paths>({ baseUrl: location.origin, fetch: session.fetch });

const MEDIA_TYPES: Record<string, string> = {
  csv: "text/csv",
  json: "application/json",
  parquet: "application/vnd.apache.parquet",
  arrow: "application/vnd.apache.arrow.stream",
  arrows: "application/vnd.apache.arrow.stream",
};

/** Media type of packed files and odd names; the server then looks at the content. */
const UNKNOWN_TYPE = "application/octet-stream";

async function sendFile<T>(path: string, file: File): Promise<T> {
  const url = new URL(path, location.origin);
  url.searchParams.set("file", file.name);
  const extension = file.name.split(".").pop()?.toLowerCase() ?? "";
  const headers = { "Content-Type": MEDIA_TYPES[extension] ?? UNKNOWN_TYPE };
  const response = await session.fetch(url, { method: "POST", headers, body: file });
  const body: unknown = await response.json().catch(() => null);
  if (!response.ok) throw problemOf(body, response);
  return body as T;
}

export const checkFile = (dataset: string, file: File) =>
  sendFile<CheckReport>(`/v1/datasets/${encodeURIComponent(dataset)}/check`, file);

export const uploadFile = (dataset: string, file: File) =>
  sendFile<UploadResult>(`/v1/datasets/${encodeURIComponent(dataset)}/versions`, file);

/** Fetch a table as a file of the kind that an extension names. */
export async function fetchFile(path: string, extension: string): Promise<Blob> {
  const headers = { Accept: MEDIA_TYPES[extension] ?? "application/json" };
  const response = await session.fetch(new URL(path, location.origin), { headers });
  if (!response.ok) throw problemOf(await response.json().catch(() => null), response);
  return response.blob();
}

/** Make an Idempotency-Key; outside secure contexts too, where randomUUID is absent. */
export function idempotencyKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");
}
