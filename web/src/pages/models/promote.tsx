import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { Link } from "react-router";
import { api } from "../../api/client";
import { unwrap } from "../../api/problem";
import { modelPolicy } from "../../api/queries-admin";
import type { ModelVersion } from "../../api/types";
import { Button } from "../../components/basics";
import { Dialog, Notice, ProblemView } from "../../components/feedback";

interface PromoteProps {
  version: ModelVersion;
  champion: ModelVersion | undefined;
}

/** Makes a version the champion, or asks a second person to. */
export function Promote({ version: v, champion }: PromoteProps) {
  const client = useQueryClient();
  const [asking, setAsking] = useState(false);
  const policy = useQuery(modelPolicy(v.model));
  const promote = useMutation({
    mutationFn: () => {
      const path = { name: v.model, alias: "champion" as const };
      return unwrap(
        api.PUT("/v1/models/{name}/aliases/{alias}", { params: { path }, body: { version: v.version } }),
      );
    },
    onSuccess: async (answer) => {
      if ("state" in answer) {
        await client.invalidateQueries({ queryKey: ["approvals"] });
        return;
      }
      await client.invalidateQueries({ queryKey: ["models"] });
      setAsking(false);
    },
  });
  const close = () => {
    setAsking(false);
    promote.reset();
  };
  const back = champion !== undefined && champion.version > v.version;
  const verb = back ? "Roll back to" : "Promote";
  const two = policy.data === "two_person";
  const waits = promote.data && "state" in promote.data;
  return (
    <>
      <Button small onClick={() => setAsking(true)}>
        {back ? "Roll back to this" : "Promote to champion"}
      </Button>
      <Dialog title={`${verb} version ${v.version}?`} open={asking} onClose={close}>
        {waits ? (
          <Notice tone="good" title="Asked for">
            <p>
              Another person must approve it, under <Link to="/approvals">Approvals</Link>. Until then nothing
              changes.
            </p>
          </Notice>
        ) : (
          <p>
            {champion
              ? `${v.model} is served by version ${champion.version} now. Requests will be answered by version ${v.version} instead.`
              : `Requests to ${v.model} will be answered by version ${v.version}.`}{" "}
            The gate checks first that it beats seasonal naive.
            {two && " Two people decide about this model: your request waits for another person."}
          </p>
        )}
        {promote.error && <ProblemView error={promote.error} />}
        <footer>
          <Button onClick={close}>{waits ? "Close" : "Cancel"}</Button>
          {!waits && (
            <Button variant="primary" disabled={promote.isPending} onClick={() => promote.mutate()}>
              {promote.isPending
                ? "Asking the gate…"
                : two
                  ? "Ask for approval"
                  : `${verb} version ${v.version}`}
            </Button>
          )}
        </footer>
      </Dialog>
    </>
  );
}
