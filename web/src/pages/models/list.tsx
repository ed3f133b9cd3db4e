import { useQueries, useQuery } from "@tanstack/react-query";
import { Link } from "react-router";
import { models, modelVersions } from "../../api/queries";
import { Badge, Page } from "../../components/basics";
import { Empty } from "../../components/feedback";
import { ListCard } from "../../components/list";
import { familyName, formatMetric } from "../../lib/format";
import { formatAge } from "../../lib/time";

const HEADS = [
  "Name",
  "Champion",
  "Family",
  "Dataset",
  { name: "MASE", num: true },
  { name: "Versions", num: true },
  "Last trained",
];

export function Component() {
  const list = useQuery(models);
  const versions = useQueries({
    queries: (list.data ?? []).map((model) => modelVersions(model.name)),
    combine: (results) => results.flatMap((r) => r.data ?? []),
  });
  return (
    <Page title="Models" intro="Every trained version, with what it learned from and which one serves.">
      <ListCard
        query={list}
        items={list.data}
        caption="Models"
        heads={HEADS}
        empty={
          <Empty title="No model yet" command="quantis train DATASET MODEL">
            A training job publishes its best model here, as a candidate.
          </Empty>
        }
      >
        {(model) => {
          const versionsOfModel = versions.filter((v) => v.model === model.name);
          const champion = versionsOfModel.find((v) => v.version === model.champion);
          const latest = versionsOfModel.find((v) => v.version === model.latest);
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
        }}
      </ListCard>
    </Page>
  );
}
