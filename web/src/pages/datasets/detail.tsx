import { useQuery } from "@tanstack/react-query";
import { useParams } from "react-router";
import { api } from "../../api/client";
import { dataset, datasetVersions } from "../../api/queries";
import type { Dataset, DatasetVersion } from "../../api/types";
import { useMay } from "../../auth/use-session";
import { ButtonLink, Card, LoadingRows, Page } from "../../components/basics";
import { Delete } from "../../components/delete";
import { Empty, Notice, ProblemView } from "../../components/feedback";
import { parseFrequency } from "../../lib/frequency";
import "../../design/as-of.css";
import { AsOfView } from "./as-of-view";
import { Declared } from "./declared";
import { SeriesCard } from "./series-card";
import { pinnedIn, useAddress } from "./use-address";
import { useSeries } from "./use-series";
import { VersionFindings } from "./version-findings";
import { Versions } from "./versions";

/** A dataset: findings of its upload, as-of view, series, versions and declaration. */
export function Component() {
  const name = useParams().name ?? "";
  const query = useQuery(dataset(name));
  const versions = useQuery(datasetVersions(name));
  const mayUpload = useMay("analyst");
  const mayTrain = useMay("ml_engineer");
  const error = query.error ?? versions.error;
  const filled = (versions.data?.length ?? 0) > 0;
  return (
    <Page
      title={name}
      intro={query.data?.description}
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
          {query.data && (
            <Delete
              title={`the dataset ${name}`}
              minimum="admin"
              run={() => api.DELETE("/v1/datasets/{name}", { params: { path: { name } } })}
              listed={["datasets"]}
              to="/datasets"
            >
              All versions of {name} go, for good, and its name stays taken. Models that were trained from it
              stay; while one of them serves, the dataset cannot be deleted.
            </Delete>
          )}
        </>
      }
    >
      {error && <ProblemView error={error} retry={() => query.refetch()} />}
      {query.data && versions.data && filled && (
        <Filled key={name} dataset={query.data} versions={versions.data} />
      )}
      {query.data && !filled && (
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
          <Declared dataset={query.data} />
        </div>
      )}
    </Page>
  );
}

function Filled({ dataset: declared, versions }: { dataset: Dataset; versions: DatasetVersion[] }) {
  const { params } = useAddress();
  const choice = useSeries(declared.name);
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
            <AsOfView dataset={declared} versions={versions} choice={choice} />
            <SeriesCard
              dataset={declared.name}
              freq={parseFrequency(versions[0]?.freq ?? "h")}
              selected={choice.series}
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
