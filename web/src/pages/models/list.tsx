import { useQueries, useQuery } from "@tanstack/react-query";
import { Link } from "react-router";
import { models, modelVersions } from "../../api/queries";
import { Badge, Card, LoadingRows, Page } from "../../components/basics";
import { Empty, ProblemView } from "../../components/feedback";
import { familyName, formatMetric } from "../../lib/format";
import { formatAge } from "../../lib/time";

export function Component() {
  const list = useQuery(models);
  const versions = useQueries({
    queries: (list.data ?? []).map((model) => modelVersions(model.name)),
    combine: (results) => results.flatMap((r) => r.data ?? []),
  });
  return (
    <Page title="Models" intro="Every trained version, with what it learned from and which one serves.">
      {list.error && <ProblemView error={list.error} retry={list.refetch} />}
      <Card flush>
        {list.isPending && <LoadingRows />}
        {list.data?.length === 0 && (
          <Empty title="No model yet" command="quantis train DATASET MODEL">
            A training job publishes its best model here, as a candidate.
          </Empty>
        )}
        {list.data && list.data.length > 0 && (
          <div className="scroll">
            <table className="table">
              <caption className="sr-only">Models</caption>
              <thead>
                <tr>
                  <th scope="col">Name</th>
                  <th scope="col">Champion</th>
                  <th scope="col">Family</th>
                  <th scope="col">Dataset</th>
                  <th scope="col" className="num">
                    MASE
                  </th>
                  <th scope="col" className="num">
                    Versions
                  </th>
                  <th scope="col">Last trained</th>
                </tr>
              </thead>
              <tbody>
                {list.data.map((model) => {
                  const own = versions.filter((v) => v.model === model.name);
                  const champion = own.find((v) => v.version === model.champion);
                  const latest = own.find((v) => v.version === model.latest);
                  return (
                    <tr key={model.name}>
                      <th scope="row">
                        <Link to={`/models/${model.name}`}>{model.name}</Link>
                      </th>
                      <td>
                        {model.champion === null ? (
                          <Badge tone="warn">none serves</Badge>
                        ) : (
                          <Badge tone="good" icon="star">
                            v{model.champion}
                          </Badge>
                        )}
                      </td>
                      <td>{familyName((champion ?? latest)?.family ?? "–")}</td>
                      <td>{(champion ?? latest)?.dataset ?? "–"}</td>
                      <td className="num">{formatMetric((champion ?? latest)?.metrics.mase)}</td>
                      <td className="num">{model.versions}</td>
                      <td>{latest ? formatAge(latest.created_at) : "–"}</td>
                    </tr>
                  );
                })}
              </tbody>
            </table>
          </div>
        )}
      </Card>
    </Page>
  );
}
