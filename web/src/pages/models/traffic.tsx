import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { Link } from "react-router";
import { api } from "../../api/client";
import { unwrap } from "../../api/problem";
import { modelPolicy, modelTraffic } from "../../api/queries-admin";
import type { ModelVersion } from "../../api/types";
import { Button, Field } from "../../components/basics";
import { Dialog, Notice, ProblemView } from "../../components/feedback";

/** Gives a version a part of the requests that name none, or asks a second person to. */
export function TrafficShare({ version: { model, version } }: { version: ModelVersion }) {
  const client = useQueryClient();
  const [asking, setAsking] = useState(false);
  const policy = useQuery(modelPolicy(model));
  const traffic = useQuery(modelTraffic(model));
  const now = traffic.data?.shares.find((share) => share.version === version)?.percent ?? 0;
  const divide = useMutation({
    mutationFn: (percent: number) => {
      const others = (traffic.data?.shares ?? []).filter((share) => share.version !== version);
      const shares = percent > 0 ? [...others, { version, percent }] : others;
      return unwrap(
        api.PUT("/v1/models/{name}/traffic", { params: { path: { name: model } }, body: { shares } }),
      );
    },
    onSuccess: async (answer) => {
      const waits = "state" in answer;
      await client.invalidateQueries({ queryKey: [waits ? "approvals" : "models"] });
      if (!waits) setAsking(false);
    },
  });
  const close = () => {
    setAsking(false);
    divide.reset();
  };
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    divide.mutate(Number(new FormData(event.currentTarget).get("percent")));
  };
  const two = policy.data === "two_person";
  const waits = divide.data && "state" in divide.data;
  return (
    <>
      <Button small onClick={() => setAsking(true)} aria-label={`Share of the traffic of version ${version}`}>
        {now > 0 ? `Answers ${now} %` : "Give it a share"}
      </Button>
      <Dialog title={`How much does version ${version} answer?`} open={asking} onClose={close}>
        {waits ? (
          <>
            <Notice tone="good" title="Asked for">
              <p>
                Another person must approve it, under <Link to="/approvals">Approvals</Link>. Until then
                nothing changes.
              </p>
            </Notice>
            <footer>
              <Button onClick={close}>Close</Button>
            </footer>
          </>
        ) : (
          <form className="stack plain" onSubmit={submit}>
            <p>
              Requests that name no version are divided by their first series, always in the same way. What no
              version has, the champion answers.
              {two && " Two people decide about this model: your request waits for another person."}
            </p>
            <Field label="Percent of the requests">
              {(id) => (
                <input
                  id={id}
                  name="percent"
                  className="input"
                  type="number"
                  min={0}
                  max={100}
                  required
                  defaultValue={now || 10}
                />
              )}
            </Field>
            {divide.error && <ProblemView error={divide.error} />}
            <footer>
              <Button onClick={close}>Cancel</Button>
              <Button type="submit" variant="primary" disabled={divide.isPending || !traffic.data}>
                {two ? "Ask for approval" : "Divide the traffic"}
              </Button>
            </footer>
          </form>
        )}
      </Dialog>
    </>
  );
}
