import { useQuery } from "@tanstack/react-query";
import { Link } from "react-router";
import { datasets } from "../../api/queries";
import { useMay } from "../../auth/use-session";
import { ButtonLink, Card, LoadingRows, Page } from "../../components/basics";
import { Empty, ProblemView } from "../../components/feedback";
import { formatCount } from "../../lib/format";
import { formatAge } from "../../lib/time";

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
      {list.error && <ProblemView error={list.error} retry={list.refetch} />}
      <Card flush>
        {list.isPending && <LoadingRows />}
        {list.data?.length === 0 && (
          <Empty title="No dataset yet" command="quantis data push NAME FILE.csv">
            A dataset begins with one file: the columns unique_id, ds and y, and covariates if there are any.
          </Empty>
        )}
        {list.data && list.data.length > 0 && (
          <div className="scroll">
            <table className="table">
              <caption className="sr-only">Datasets</caption>
              <thead>
                <tr>
                  <th scope="col">Name</th>
                  <th scope="col">Description</th>
                  <th scope="col" className="num">
                    Series
                  </th>
                  <th scope="col" className="num">
                    Rows
                  </th>
                  <th scope="col">Frequency</th>
                  <th scope="col">Version</th>
                  <th scope="col">Created</th>
                </tr>
              </thead>
              <tbody>
                {list.data.map((d) => (
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
                ))}
              </tbody>
            </table>
          </div>
        )}
      </Card>
    </Page>
  );
}
