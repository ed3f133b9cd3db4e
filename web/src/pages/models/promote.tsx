import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { api } from "../../api/client";
import { unwrap } from "../../api/problem";
import { modelPolicy } from "../../api/queries-admin";
import type { ModelVersion } from "../../api/types";
import { Button } from "../../components/basics";
import { Dialog, ProblemView } from "../../components/feedback";
import { ApprovalNotice } from "./approval-notice";
import { findHeadToHead, HeadToHeadRow } from "./head-to-head";

interface PromoteProps {
  version: ModelVersion;
  champion: ModelVersion | undefined;
}

/** Button that makes a version the champion, or asks a second person to. */
export function Promote({ version, champion }: PromoteProps) {
  const [open, setOpen] = useState(false);
  const older = champion !== undefined && champion.version > version.version;
  const verb = older ? "Roll back to" : "Promote";
  const close = () => setOpen(false);
  return (
    <>
      <Button small onClick={() => setOpen(true)}>
        {older ? "Roll back to this" : "Promote to champion"}
      </Button>
      <Dialog title={`${verb} version ${version.version}?`} open={open} onClose={close}>
        <PromoteForm version={version} champion={champion} verb={verb} onClose={close} />
      </Dialog>
    </>
  );
}

function PromoteForm({
  version: target,
  champion,
  verb,
  onClose,
}: PromoteProps & { verb: string; onClose: () => void }) {
  const { model, version } = target;
  const headToHead = champion && findHeadToHead(target, champion);
  const twoPersons = useQuery(modelPolicy(model)).data === "two_person";
  const promote = usePromote(model, version, onClose);
  if (promote.data && "state" in promote.data) {
    return (
      <>
        <ApprovalNotice />
        <footer>
          <Button onClick={onClose}>Close</Button>
        </footer>
      </>
    );
  }
  const action = twoPersons ? "Ask for approval" : `${verb} version ${version}`;
  return (
    <>
      <p>
        {champion
          ? `${model} is served by version ${champion.version} now. Requests will be answered by version ${version} instead.`
          : `Requests to ${model} will be answered by version ${version}.`}{" "}
        The gate checks first that it beats seasonal naive.
        {twoPersons && " Two people decide about this model: your request waits for another person."}
      </p>
      {headToHead && <HeadToHeadRow row={headToHead} />}
      {promote.error && <ProblemView error={promote.error} />}
      <footer>
        <Button onClick={onClose}>Cancel</Button>
        <Button variant="primary" disabled={promote.isPending} onClick={() => promote.mutate()}>
          {promote.isPending ? "Asking the gate…" : action}
        </Button>
      </footer>
    </>
  );
}

/** Mutation that moves the champion alias; calls back once it holds, not while it waits for approval. */
function usePromote(model: string, version: number, onPromoted: () => void) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: () => {
      const path = { name: model, alias: "champion" as const };
      return unwrap(api.PUT("/v1/models/{name}/aliases/{alias}", { params: { path }, body: { version } }));
    },
    onSuccess: async (result) => {
      if ("state" in result) {
        await client.invalidateQueries({ queryKey: ["approvals"] });
        return;
      }
      await client.invalidateQueries({ queryKey: ["models"] });
      onPromoted();
    },
  });
}
