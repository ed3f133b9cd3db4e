import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { useNavigate, useSearchParams } from "react-router";
import { api, idempotencyKey } from "../../api/client";
import { asProblem, unwrap } from "../../api/problem";
import { dataset as datasetQuery } from "../../api/queries";
import type { TrainSpec } from "../../api/types";
import { type Budget, FAMILY_NAMES } from "./budget";
import { trainSpec } from "./train-spec";

/** State of the training form: dataset (in the address), budget, validity and submission. */
export function useTrainForm(datasets: string[]) {
  const [params, setParams] = useSearchParams();
  const dataset = datasets.find((name) => name === params.get("dataset")) ?? datasets[0] ?? "";
  const roles = useQuery(datasetQuery(dataset)).data?.roles;
  const [budget, setBudget] = useState<Budget>({ preset: "balanced", families: FAMILY_NAMES });
  const submission = useTrainSubmission();
  return {
    dataset,
    setDataset: (name: string) => setParams({ dataset: name }, { replace: true }),
    futureColumns: roles?.futr_exog ?? [],
    budget,
    setBudget,
    lacksFamilies: budget.preset === "own" && budget.families.length === 0,
    onSubmit: (event: FormEvent<HTMLFormElement>) => {
      event.preventDefault();
      submission.mutate(trainSpec(new FormData(event.currentTarget), dataset, budget));
    },
    pending: submission.isPending,
    error: submission.error,
  };
}

/** Mutation that starts the job and opens its page. */
function useTrainSubmission() {
  const navigate = useNavigate();
  const client = useQueryClient();
  // One key for one intention: pressing again after a lost response makes no second job.
  const [key, setKey] = useState(idempotencyKey);
  return useMutation({
    mutationFn: (spec: TrainSpec) =>
      unwrap(api.POST("/v1/jobs", { body: { spec }, params: { header: { "idempotency-key": key } } })),
    onSuccess: (job) => {
      client.invalidateQueries({ queryKey: ["jobs"] });
      navigate(`/jobs/${job.id}`);
    },
    onError: (error) => {
      if (asProblem(error).status > 0) setKey(idempotencyKey());
    },
  });
}
