import { useQuery } from "@tanstack/react-query";
import { usage } from "../../api/queries-admin";
import type { Usage } from "../../api/types";
import { useMay, useUser } from "../../auth/use-session";
import { Card, LoadingRows, Page } from "../../components/basics";
import { ProblemView } from "../../components/feedback";
import { useNow } from "../../components/use-now";
import { formatDate, formatWait } from "../../lib/time";
import { amount, QUOTA_NAMES, share } from "./labels";
import { Teams } from "./teams";

/** The team that runs the platform; its admins set what every team may use. */
const OPERATORS = "default";

export function Component() {
  const found = useQuery(usage);
  const admin = useMay("admin");
  const operator = useUser()?.team === OPERATORS && admin;
  return (
    <Page title="Usage" intro="What your team uses of what it may use.">
      {found.error && <ProblemView error={found.error} retry={() => found.refetch()} />}
      <Card title={found.data && `Team ${found.data.team}`} flush={found.isPending}>
        {found.isPending && <LoadingRows />}
        {found.data && (
          <ul className="gauges">
            {found.data.items.map((item) => (
              <Gauge key={item.name} item={item} />
            ))}
          </ul>
        )}
      </Card>
      {operator && <Teams />}
    </Page>
  );
}

type Used = Usage["items"][number];

function Gauge({ item }: { item: Used }) {
  const now = useNow(true, 5000);
  const part = share(item);
  const tone = part >= 1 ? "bad" : part >= 0.8 ? "warn" : "";
  const name = QUOTA_NAMES[item.name] ?? item.name.replaceAll("_", " ");
  return (
    <li>
      <p className="hint">{name}</p>
      <p>
        <b className="figure">{amount(item.name, item.used)}</b>{" "}
        <span className="muted">
          {item.limit === null ? "· no limit" : `of ${amount(item.name, item.limit)}`}
        </span>
      </p>
      {item.limit !== null && (
        <div className={`progress ${tone}`} aria-hidden="true">
          <span style={{ width: `${100 * Math.min(part, 1)}%` }} />
        </div>
      )}
      {part >= 1 && (
        <p className="hint over">
          Used up: {item.name === "jobs_at_once" ? "further jobs wait" : "more is refused"}.
        </p>
      )}
      {item.resets_at && <p className="hint">{resets(item.resets_at, now)}</p>}
    </li>
  );
}

/** Soon in words, later by date. */
function resets(at: string, now: number): string {
  const seconds = Math.max(1, Math.round((Date.parse(at) - now) / 1000));
  return seconds < 600 ? `free again in ${formatWait(seconds)}` : `counted anew on ${formatDate(at)}`;
}
