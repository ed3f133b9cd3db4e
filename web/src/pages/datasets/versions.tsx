import { Link } from "react-router";
import type { DatasetVersion } from "../../api/types";
import { Badge, Card, CopyText } from "../../components/basics";
import { formatCount } from "../../lib/format";
import { formatAge, formatDate, formatDateTime } from "../../lib/time";
import { addressWith, pinnedIn, useAddress } from "./use-address";

/** Origin of a version, before the number of its parent. */
const ACTIONS: Record<DatasetVersion["action"], string> = {
  upload: "an upload on",
  append: "appended to",
  delete: "a series deleted from",
  restore: "a series restored in",
};

/** List of versions, the latest first; a link pins the page to one. */
export function Versions({ versions }: { versions: DatasetVersion[] }) {
  const { params } = useAddress();
  const pinned = pinnedIn(params);
  const latest = versions[0]?.number;
  return (
    <Card title="Versions">
      <ol className="versions">
        {versions.map((v) => {
          const shown = v.number === (pinned ?? latest);
          return (
            <li key={v.number} className={shown ? "shown" : undefined}>
              <Link
                to={addressWith(params, { version: v.number === latest ? null : String(v.number) })}
                aria-current={shown ? "true" : undefined}
                preventScrollReset
              >
                v{v.number}
              </Link>
              <div>
                <span className="version-title">
                  {formatCount(v.rows)} rows, {formatCount(v.series)} series
                  {v.number === latest && v.number !== pinned && <Badge tone="good">latest</Badge>}
                  {v.number === pinned && <Badge tone="accent">pinned</Badge>}
                </span>
                <small>
                  {formatDate(v.first_ds)} to {formatDate(v.last_ds)}
                </small>
                <small>
                  <time dateTime={v.created_at} title={`${formatDateTime(v.created_at)} UTC`}>
                    {formatAge(v.created_at)}
                  </time>{" "}
                  by {v.created_by}
                  {v.parent !== null && `, ${ACTIONS[v.action]} v${v.parent}`}
                </small>
                <CopyText
                  text={v.content_hash}
                  short={v.content_hash.slice(0, 12)}
                  label={`Copy the content hash of version ${v.number}`}
                />
              </div>
            </li>
          );
        })}
      </ol>
    </Card>
  );
}
