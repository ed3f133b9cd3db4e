import { useQuery } from "@tanstack/react-query";
import { datasets as datasetsQuery } from "../../api/queries";
import { Button, Card, LoadingRows, Page } from "../../components/basics";
import { Empty, ProblemView } from "../../components/feedback";
import { ComparisonSection, DataSection, TftSection } from "./train-sections";
import { useTrainForm } from "./use-train-form";

export function Component() {
  const datasets = useQuery(datasetsQuery);
  const trainable = datasets.data?.filter((dataset) => dataset.latest_version) ?? [];
  return (
    <Page
      title="Train a model"
      intro="Every family is compared on rolling origins; the best becomes a candidate, and champion if it beats naive."
      back={{ to: "/jobs", label: "Jobs" }}
    >
      {datasets.error && <ProblemView error={datasets.error} retry={() => datasets.refetch()} />}
      {datasets.isPending && <LoadingRows />}
      {datasets.data && trainable.length === 0 && (
        <Card flush>
          <Empty title="No dataset to train on" command="quantis data push NAME FILE.csv">
            Training needs a dataset with at least one version.
          </Empty>
        </Card>
      )}
      {trainable.length > 0 && <TrainForm datasets={trainable.map((dataset) => dataset.name)} />}
    </Page>
  );
}

function TrainForm({ datasets }: { datasets: string[] }) {
  const form = useTrainForm(datasets);
  return (
    <form className="stack narrow" onSubmit={form.onSubmit}>
      <DataSection datasets={datasets} dataset={form.dataset} onDataset={form.setDataset} />
      <ComparisonSection budget={form.budget} onBudget={form.setBudget} futureColumns={form.futureColumns} />
      <TftSection />
      {form.error && <ProblemView error={form.error} />}
      <div className="actions">
        <Button type="submit" variant="primary" disabled={form.pending || form.lacksFamilies}>
          {form.pending ? "Submitting…" : "Start training"}
        </Button>
        {form.lacksFamilies && <span className="hint">Choose at least one family.</span>}
      </div>
    </form>
  );
}
