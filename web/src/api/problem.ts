import type { Complete, Finding } from "./types";

interface ProblemBody {
  title?: string;
  status?: number;
  detail?: string;
  code?: string;
  request_id?: string;
  errors?: { pointer?: string; message?: string }[];
  findings?: Finding[];
}

/** Problem by RFC 9457, or its nearest equivalent where the server could not write one. */
export class ProblemError extends Error {
  readonly status: number;
  readonly title: string;
  readonly code: string;
  readonly requestId: string | null;
  /** Seconds to wait before the next try, where the server names them. */
  readonly retryAfter: number | null;
  readonly errors: { pointer: string; message: string }[];
  readonly findings: Finding[];

  constructor(body: ProblemBody, status: number, retryAfter: number | null = null) {
    super(body.detail || body.title || `The server responded ${status}.`);
    this.name = "ProblemError";
    this.status = body.status ?? status;
    this.title = body.title || titleOf(status);
    this.code = body.code ?? "unknown";
    this.requestId = body.request_id ?? null;
    this.retryAfter = retryAfter;
    this.errors = (body.errors ?? []).map((e) => ({ pointer: e.pointer ?? "", message: e.message ?? "" }));
    this.findings = body.findings ?? [];
  }
}

function titleOf(status: number): string {
  if (status === 0) return "The server cannot be reached";
  return status >= 500 ? "The server failed" : "The request was refused";
}

/** Read the body of an error response: a problem, other JSON, or text. */
export function problemOf(body: unknown, response: Pick<Response, "status" | "headers">): ProblemError {
  const fields: ProblemBody = typeof body === "object" && body !== null ? (body as ProblemBody) : {};
  const requestId = fields.request_id ?? response.headers.get("x-request-id") ?? undefined;
  const detail = typeof fields.detail === "string" ? fields.detail : undefined;
  const wait = Number.parseInt(response.headers.get("retry-after") ?? "", 10);
  const retryAfter = Number.isNaN(wait) ? null : wait;
  return new ProblemError({ ...fields, detail, request_id: requestId }, response.status, retryAfter);
}

/** Turn anything thrown into a problem that can be shown. */
export function asProblem(error: unknown): ProblemError {
  if (error instanceof ProblemError) return error;
  if (error instanceof TypeError) {
    return new ProblemError({ detail: "Check that the platform is up (quantis doctor) and try again." }, 0);
  }
  return new ProblemError({ title: "Something went wrong", detail: String(error) }, 0);
}

interface ClientResult<T> {
  data?: T;
  error?: unknown;
  response: Response;
}

/** Return the data of a result; throw a ProblemError for an error. */
export async function unwrap<T>(result: Promise<ClientResult<T>>): Promise<Complete<T>> {
  const { data, error, response } = await result;
  if (!response.ok) throw problemOf(error, response);
  return data as Complete<T>;
}
