import { useQuery } from "@tanstack/react-query";
import { Link } from "react-router";
import { datasets } from "../../api/queries";
import { useMay } from "../../auth/use-session";
import { ButtonLink, Page } from "../../components/basics";
import { Empty } from "../../components/feedback";
import { ListCard } from "../../components/list";
import { formatCount } from "../../lib/format";
import { formatAge } from "../../lib/time";

const HEADS = [
  "Name",
  "Description",
  { name: "Series", num: true },
  { name: "Rows", num: true },
  "Frequency",
  "Version",
  "Created",
];

export function Component() {
  const list = useQuery(datasets);
  const may = useMay("analyst");
  return (
    <Page
      title="Datasets"
      intro="Panels of time series, checked when they arrive and kept in every version."
      actions={
        may && (
          <ButtonLink to="/datasets/new" variant="primary" icon="plus">
            New dataset
          </ButtonLink>
        )
      }
    >
      <ListCard
        query={list}
        items={list.data}
        caption="Datasets"
        heads={HEADS}
        empty={
          <Empty title="No dataset yet" command="quantis data push NAME FILE.csv">
            A dataset begins with one file: the columns unique_id, ds and y, and covariates if there are any.
          </Empty>
        }
      >
        {(d) => (
          <tr key={d.name}>
            <th scope="row">
              <Link to={`/datasets/${d.name}`}>{d.name}</Link>
            </th>
            <td className="wrap muted">{d.description || "–"}</td>
            <td className="num">{d.series === null ? "–" : formatCount(d.series)}</td>
            <td className="num">{d.rows === null ? "–" : formatCount(d.rows)}</td>
            <td>{d.freq ? <code>{d.freq}</code> : "–"}</td>
            <td>{d.latest_version ? `v${d.latest_version}` : "empty"}</td>
            <td title={d.created_at}>
              {formatAge(d.created_at)} <span className="muted">by {d.created_by}</span>
            </td>
          </tr>
        )}
      </ListCard>
    </Page>
  );
}
