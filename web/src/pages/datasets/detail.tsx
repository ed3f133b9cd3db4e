import { useQuery } from "@tanstack/react-query";
import { useParams } from "react-router";
import { dataset, datasetVersions } from "../../api/queries";
import type { Dataset, DatasetVersion } from "../../api/types";
import { useMay } from "../../auth/use-session";
import { ButtonLink, Card, LoadingRows, Page } from "../../components/basics";
import { Empty, Notice, ProblemView } from "../../components/feedback";
import { parseFrequency } from "../../lib/frequency";
import "../../design/as-of.css";
import { KnownPanel } from "./as-of-view";
import { Declared } from "./declared";
import { SeriesCard } from "./series-card";
import { pinnedIn, useAddress } from "./use-address";
import { useSeries } from "./use-series";
import { VersionFindings } from "./version-findings";
import { Versions } from "./versions";

/** A dataset: its findings, its versions, and what was known of it when. */
export function Component() {
  const name = useParams().name ?? "";
  const found = useQuery(dataset(name));
  const versions = useQuery(datasetVersions(name));
  const mayUpload = useMay("analyst");
  const mayTrain = useMay("ml_engineer");
  const error = found.error ?? versions.error;
  const filled = (versions.data?.length ?? 0) > 0;
  return (
    <Page
      title={name}
      intro={found.data?.description}
      back={{ to: "/datasets", label: "Datasets" }}
      actions={
        <>
          {mayUpload && (
            <ButtonLink to={`/datasets/${name}/upload`} icon="upload">
              Upload a version
            </ButtonLink>
          )}
          {mayTrain && filled && <ButtonLink to={`/jobs/new?dataset=${name}`}>Train a model</ButtonLink>}
          {filled && (
            <ButtonLink to={`/explorer?dataset=${name}`} variant="primary" icon="explorer">
              Explore
            </ButtonLink>
          )}
        </>
      }
    >
      {error && <ProblemView error={error} retry={() => found.refetch()} />}
      {found.data && versions.data && filled && (
        <Filled key={name} dataset={found.data} versions={versions.data} />
      )}
      {found.data && !filled && (
        <div className="split">
          <Card flush>
            {versions.isPending ? (
              <LoadingRows />
            ) : (
              <Empty title="No version yet" command={`quantis data push ${name} FILE.csv`}>
                The dataset is declared; its first file is still to come.
              </Empty>
            )}
          </Card>
          <Declared dataset={found.data} />
        </div>
      )}
    </Page>
  );
}

function Filled({ dataset: declared, versions }: { dataset: Dataset; versions: DatasetVersion[] }) {
  const { params } = useAddress();
  const choice = useSeries(declared.name, true);
  const pinned = pinnedIn(params);
  const missing = pinned !== undefined && !versions.some((v) => v.number === pinned);
  return (
    <div className="split">
      <div className="stack">
        {missing ? (
          <Notice
            tone="warn"
            title={`There is no version ${pinned}`}
            action={
              <ButtonLink small to={`/datasets/${declared.name}`}>
                The latest
              </ButtonLink>
            }
          >
            <p>Choose one of the versions that are listed.</p>
          </Notice>
        ) : (
          <>
            <VersionFindings name={declared.name} versions={versions} />
            <KnownPanel dataset={declared} versions={versions} choice={choice} />
            <SeriesCard
              name={declared.name}
              freq={parseFrequency(versions[0]?.freq ?? "h")}
              chosen={choice.series}
            />
          </>
        )}
      </div>
      <div className="stack">
        <Versions versions={versions} />
        <Declared dataset={declared} />
      </div>
    </div>
  );
}
