import { useQuery } from "@tanstack/react-query";
import { useParams } from "react-router";
import { api } from "../../api/client";
import { modelVersions } from "../../api/queries";
import { ButtonLink, Card, LoadingRows, Page } from "../../components/basics";
import { Delete } from "../../components/delete";
import { ProblemView } from "../../components/feedback";
import { Experiments } from "./experiments";
import { PolicyNote } from "./policy";
import { VersionCard } from "./version-card";

export function Component() {
  const name = useParams().name ?? "";
  const versions = useQuery(modelVersions(name));
  const champion = versions.data?.find((version) => version.aliases.includes("champion"));
  const dataset = versions.data?.[0]?.dataset;
  return (
    <Page
      title={name}
      back={{ to: "/models", label: "Models" }}
      intro={
        versions.data &&
        (champion ? `Version ${champion.version} serves as champion.` : "No version serves as champion yet.")
      }
      actions={
        <>
          {dataset && (
            <ButtonLink to={`/explorer?dataset=${dataset}&model=${name}`} variant="primary" icon="explorer">
              Explore
            </ButtonLink>
          )}
          {versions.data && (
            <Delete
              title={`the model ${name}`}
              minimum="admin"
              run={() => api.DELETE("/v1/models/{name}", { params: { path: { name } } })}
              listed={["models"]}
              to="/models"
            >
              All versions of {name} go, for good, and its name stays taken. Forecasts that it issued stay.
              While a version serves, the model cannot be deleted: retire it first.
            </Delete>
          )}
        </>
      }
    >
      {versions.error && <ProblemView error={versions.error} retry={() => versions.refetch()} />}
      {versions.isPending && (
        <Card flush>
          <LoadingRows />
        </Card>
      )}
      {versions.data && <PolicyNote model={name} />}
      {versions.data && <Experiments model={name} />}
      {versions.data?.map((version) => (
        <VersionCard key={version.version} version={version} champion={champion} />
      ))}
    </Page>
  );
}
