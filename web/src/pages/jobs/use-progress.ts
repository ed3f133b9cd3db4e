import { type QueryClient, useQueryClient } from "@tanstack/react-query";
import { useEffect, useReducer, useState } from "react";
import { api } from "../../api/client";
import { asProblem, type ProblemError, unwrap } from "../../api/problem";
import { isFinal, job as jobQuery, worthRetrying } from "../../api/queries";
import type { JobEvent } from "../../api/types";
import { session } from "../../auth/session";
import { follow } from "../../lib/sse";
import { addEvent, NO_PROGRESS } from "./progress";

/** Follow a job's event stream: its progress so far, and whether the connection is live. */
export function useProgress(id: string) {
  const client = useQueryClient();
  const [progress, add] = useReducer(addEvent, NO_PROGRESS);
  const [connection, setConnection] = useState<"live" | "waiting" | "ended">("waiting");
  const [error, setError] = useState<ProblemError | null>(null);

  useEffect(() => {
    const stop = new AbortController();
    follow({
      signal: stop.signal,
      connect: (lastId, signal) => openEvents(id, lastId, signal),
      onMessage: (message) => {
        add(JSON.parse(message.data) as JobEvent);
        client.invalidateQueries({ queryKey: ["jobs", id], exact: true });
      },
      onState: setConnection,
      isOver: () => hasEnded(id, client),
    })
      .then(() => setConnection("ended"))
      .catch((thrown) => setError(asProblem(thrown)));
    return () => stop.abort();
  }, [id, client]);

  return { progress, connection, error };
}

/** Ask for the job; a server that is away for a moment has not said that it ended. */
async function hasEnded(id: string, client: QueryClient): Promise<boolean> {
  try {
    const job = await unwrap(api.GET("/v1/jobs/{job_id}", { params: { path: { job_id: id } } }));
    client.setQueryData(jobQuery(id).queryKey, job);
    return isFinal(job.state);
  } catch (thrown) {
    if (worthRetrying(0, asProblem(thrown))) return false;
    throw thrown;
  }
}

function openEvents(id: string, lastId: string | null, signal: AbortSignal): Promise<Response> {
  const headers: HeadersInit = { Accept: "text/event-stream" };
  if (lastId) headers["Last-Event-ID"] = lastId;
  const url = new URL(`/v1/jobs/${encodeURIComponent(id)}/events`, location.origin);
  return session.fetch(url, { headers, signal });
}
