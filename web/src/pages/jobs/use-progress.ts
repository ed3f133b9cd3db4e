import { useQueryClient } from "@tanstack/react-query";
import { useEffect, useReducer, useState } from "react";
import { api } from "../../api/client";
import { asProblem, type ProblemError, unwrap } from "../../api/problem";
import { isFinal, job as jobQuery } from "../../api/queries";
import type { JobEvent } from "../../api/types";
import { session } from "../../auth/session";
import { follow } from "../../lib/sse";
import { NO_STORY, type Story, tell } from "./progress";

/** A job's story as it is told, and whether the line is up. */
export function useStory(id: string) {
  const client = useQueryClient();
  const [story, add] = useReducer((told: Story, event: JobEvent) => tell(told, event), NO_STORY);
  const [line, setLine] = useState<"live" | "waiting" | "ended">("waiting");
  const [error, setError] = useState<ProblemError | null>(null);

  useEffect(() => {
    const stop = new AbortController();
    const refetch = () => client.invalidateQueries({ queryKey: ["jobs", id], exact: true });
    follow({
      signal: stop.signal,
      connect: (lastId, signal) => {
        const headers: HeadersInit = { Accept: "text/event-stream" };
        if (lastId) headers["Last-Event-ID"] = lastId;
        return session.fetch(new URL(`/v1/jobs/${encodeURIComponent(id)}/events`, location.origin), {
          headers,
          signal,
        });
      },
      onMessage: (message) => {
        add(JSON.parse(message.data) as JobEvent);
        refetch();
      },
      onState: setLine,
      isOver: async () => {
        const now = await unwrap(api.GET("/v1/jobs/{job_id}", { params: { path: { job_id: id } } }));
        client.setQueryData(jobQuery(id).queryKey, now);
        return isFinal(now.state);
      },
    })
      .then(() => setLine("ended"))
      .catch((thrown) => setError(asProblem(thrown)));
    return () => stop.abort();
  }, [id, client]);

  return { story, line, error };
}
