import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { api } from "../../api/client";
import { unwrap } from "../../api/problem";
import { modelPolicy, modelTraffic } from "../../api/queries-admin";
import type { ModelVersion } from "../../api/types";
import { Button } from "../../components/basics";
import { Dialog, ProblemView } from "../../components/feedback";
import { NumberField } from "../../components/fields";
import { ApprovalNotice } from "./approval-notice";

/** Button that gives a version a share of the requests which name none. */
export function TrafficShare({ version: { model, version } }: { version: ModelVersion }) {
  const [open, setOpen] = useState(false);
  const shares = useQuery(modelTraffic(model)).data?.shares;
  const percent = shares?.find((share) => share.version === version)?.percent ?? 0;
  const text = percent > 0 ? `Answers ${percent} %` : "Give it a share";
  const close = () => setOpen(false);
  return (
    <>
      <Button small onClick={() => setOpen(true)} aria-label={`${text}: traffic of version ${version}`}>
        {text}
      </Button>
      <Dialog title={`How much does version ${version} answer?`} open={open} onClose={close}>
        <ShareForm model={model} version={version} percent={percent} onClose={close} />
      </Dialog>
    </>
  );
}

interface ShareFormProps {
  model: string;
  version: number;
  /** Share of the version now. */
  percent: number;
  onClose: () => void;
}

function ShareForm({ model, version, percent, onClose }: ShareFormProps) {
  const twoPersons = useQuery(modelPolicy(model)).data === "two_person";
  const { divide, ready } = useDivideTraffic(model, version, onClose);
  if (divide.data && "state" in divide.data) {
    return (
      <>
        <ApprovalNotice />
        <footer>
          <Button onClick={onClose}>Close</Button>
        </footer>
      </>
    );
  }
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    divide.mutate(Number(new FormData(event.currentTarget).get("percent")));
  };
  return (
    <form className="stack plain" onSubmit={submit}>
      <p>
        Requests that name no version are divided by their first series, always in the same way. What no
        version has, the champion answers.
        {twoPersons && " Two people decide about this model: your request waits for another person."}
      </p>
      <NumberField
        label="Percent of the requests"
        name="percent"
        min={0}
        max={100}
        required
        defaultValue={percent || 10}
      />
      {divide.error && <ProblemView error={divide.error} />}
      <footer>
        <Button onClick={onClose}>Cancel</Button>
        <Button type="submit" variant="primary" disabled={divide.isPending || !ready}>
          {twoPersons ? "Ask for approval" : "Divide the traffic"}
        </Button>
      </footer>
    </form>
  );
}

/** Mutation that sets a version's share and keeps the others'; calls back once it holds. */
function useDivideTraffic(model: string, version: number, onDivided: () => void) {
  const client = useQueryClient();
  const shares = useQuery(modelTraffic(model)).data?.shares;
  const divide = useMutation({
    mutationFn: (percent: number) => {
      const others = (shares ?? []).filter((share) => share.version !== version);
      const body = { shares: percent > 0 ? [...others, { version, percent }] : others };
      return unwrap(api.PUT("/v1/models/{name}/traffic", { params: { path: { name: model } }, body }));
    },
    onSuccess: async (result) => {
      const waits = "state" in result;
      await client.invalidateQueries({ queryKey: [waits ? "approvals" : "models"] });
      if (!waits) onDivided();
    },
  });
  return { divide, ready: shares !== undefined };
}
