import { useQueryClient } from "@tanstack/react-query";
import { useEffect, useReducer, useState } from "react";
import { api } from "../../api/client";
import { asProblem, type ProblemError, unwrap } from "../../api/problem";
import { isFinal, job as jobQuery } from "../../api/queries";
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
      isOver: async () => {
        const job = await unwrap(api.GET("/v1/jobs/{job_id}", { params: { path: { job_id: id } } }));
        client.setQueryData(jobQuery(id).queryKey, job);
        return isFinal(job.state);
      },
    })
      .then(() => setConnection("ended"))
      .catch((thrown) => setError(asProblem(thrown)));
    return () => stop.abort();
  }, [id, client]);

  return { progress, connection, error };
}

function openEvents(id: string, lastId: string | null, signal: AbortSignal): Promise<Response> {
  const headers: HeadersInit = { Accept: "text/event-stream" };
  if (lastId) headers["Last-Event-ID"] = lastId;
  const url = new URL(`/v1/jobs/${encodeURIComponent(id)}/events`, location.origin);
  return session.fetch(url, { headers, signal });
}
