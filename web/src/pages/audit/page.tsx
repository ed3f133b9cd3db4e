import { useInfiniteQuery } from "@tanstack/react-query";
import { useSearchParams } from "react-router";
import { type AuditFilter, auditPages } from "../../api/queries-admin";
import type { AuditEvent } from "../../api/types";
import { useUser } from "../../auth/use-session";
import { Badge, CopyText, Fact, Page, type Tone } from "../../components/basics";
import { Empty } from "../../components/feedback";
import { ListCard } from "../../components/list";
import { formatDate, formatTime, parseField } from "../../lib/time";
import { ChainCheck } from "./chain-check";
import { Filters } from "./filters";
import { actionText, detailText } from "./labels";

/** Team that runs the platform; its admins may check the whole chain. */
const OPERATORS = "default";
const HEADS = ["When (UTC)", "Who", "What", "Outcome", "Request"];
const TONES: Record<AuditEvent["outcome"], Tone> = {
  done: "good",
  refused: "warn",
  failed: "bad",
  interrupted: "bad",
};
const KINDS: Record<string, string> = {
  key: "by API key",
  client: "service account",
  nobody: "not signed in",
};

export function Component() {
  const [params] = useSearchParams();
  const filter = filterOf(params);
  const pages = useInfiniteQuery(auditPages(filter));
  const operator = useUser()?.team === OPERATORS;
  const filtered = [...params.keys()].length > 0;
  return (
    <Page
      title="Audit trail"
      intro="Every call that changed something, or tried to: who, what, and how it ended. Nothing here can be edited."
      actions={operator && <ChainCheck />}
    >
      <ListCard
        head={<Filters />}
        query={pages}
        items={pages.data?.pages.flatMap((page) => page.items)}
        caption="Audit events, newest first"
        heads={HEADS}
        more="Show older events"
        empty={
          <Empty title={filtered ? "Nothing fits these filters" : "Nothing yet"}>
            {filtered ? "Take one away, or widen the time." : "The first change will stand here."}
          </Empty>
        }
      >
        {(event) => <EventRow key={event.id} event={event} />}
      </ListCard>
    </Page>
  );
}

function filterOf(params: URLSearchParams): AuditFilter {
  const timeOf = (name: string) => parseField(params.get(name) ?? "") ?? undefined;
  return {
    actor: params.get("actor") || undefined,
    action: params.get("action") || undefined,
    outcome: (params.get("outcome") as AuditEvent["outcome"] | null) || undefined,
    since: timeOf("since"),
    until: timeOf("until"),
  };
}

function EventRow({ event }: { event: AuditEvent }) {
  const details = Object.entries(event.detail);
  return (
    <tr className="event">
      <th scope="row" title={event.at}>
        {formatTime(event.at)}
        <div className="hint">{formatDate(event.at)}</div>
      </th>
      <td>
        {event.actor || "nobody known"}
        <div className="hint">
          {KINDS[event.actor_kind] ?? event.actor_kind}
          {event.address && ` · ${event.address}`}
        </div>
      </td>
      <td className="wrap">
        <details>
          <summary>
            {actionText(event.action)}
            <code className="hint">{event.object}</code>
          </summary>
          <dl className="facts">
            {details.map(([name, value]) => (
              <Fact key={name} name={name.replaceAll("_", " ")}>
                {detailText(value)}
              </Fact>
            ))}
            <Fact name="call">
              <code>{event.action}</code>
            </Fact>
            <Fact name="event">
              {event.seq}, hash <code>{event.hash.slice(0, 16)}…</code>
            </Fact>
          </dl>
        </details>
      </td>
      <td>
        <Badge tone={TONES[event.outcome]}>{event.outcome}</Badge>{" "}
        <span className="muted">{event.status || ""}</span>
      </td>
      <td>
        <CopyText
          text={event.request_id}
          short={event.request_id.slice(0, 8)}
          label={`Copy the request id ${event.request_id}`}
        />
      </td>
    </tr>
  );
}
