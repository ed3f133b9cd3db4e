import { useQuery } from "@tanstack/react-query";
import { usage } from "../../api/queries-admin";
import type { Usage } from "../../api/types";
import { useMay, useUser } from "../../auth/use-session";
import { Card, LoadingRows, Page } from "../../components/basics";
import { ProblemView } from "../../components/feedback";
import { useNow } from "../../components/use-now";
import { formatDate, formatWait } from "../../lib/time";
import { formatAmount, QUOTA_NAMES, usedShare } from "./labels";
import { Teams } from "./teams";

/** Team that runs the platform; its admins set the quotas of every team. */
const OPERATORS = "default";

export function Component() {
  const query = useQuery(usage);
  const admin = useMay("admin");
  const operator = useUser()?.team === OPERATORS && admin;
  return (
    <Page title="Usage" intro="What your team uses of what it may use.">
      {query.error && <ProblemView error={query.error} retry={() => query.refetch()} />}
      <Card title={query.data && `Team ${query.data.team}`} flush={query.isPending}>
        {query.isPending && <LoadingRows />}
        {query.data && (
          <ul className="gauges">
            {query.data.items.map((item) => (
              <Gauge key={item.name} item={item} />
            ))}
          </ul>
        )}
      </Card>
      {operator && <Teams />}
    </Page>
  );
}

function Gauge({ item }: { item: Usage["items"][number] }) {
  const now = useNow(true, 5000);
  const share = usedShare(item);
  const tone = share >= 1 ? "bad" : share >= 0.8 ? "warn" : "";
  const name = QUOTA_NAMES[item.name] ?? item.name.replaceAll("_", " ");
  return (
    <li>
      <p className="hint">{name}</p>
      <p>
        <b className="figure">{formatAmount(item.name, item.used)}</b>{" "}
        <span className="muted">
          {item.limit === null ? "· no limit" : `of ${formatAmount(item.name, item.limit)}`}
        </span>
      </p>
      {item.limit !== null && (
        <div className={`progress ${tone}`} aria-hidden="true">
          <span style={{ width: `${100 * Math.min(share, 1)}%` }} />
        </div>
      )}
      {share >= 1 && (
        <p className="hint over">
          Used up: {item.name === "jobs_at_once" ? "further jobs wait" : "more is refused"}.
        </p>
      )}
      {item.resets_at && <p className="hint">{resetText(item.resets_at, now)}</p>}
    </li>
  );
}

/** Say when a quota starts anew: soon in words, later by date. */
function resetText(at: string, now: number): string {
  const seconds = Math.max(1, Math.round((Date.parse(at) - now) / 1000));
  return seconds < 600 ? `free again in ${formatWait(seconds)}` : `counted anew on ${formatDate(at)}`;
}
