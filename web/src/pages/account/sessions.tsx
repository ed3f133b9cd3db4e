import { useQuery, useQueryClient } from "@tanstack/react-query";
import { api } from "../../api/client";
import { unwrap } from "../../api/problem";
import { sessions as sessionsQuery } from "../../api/queries-admin";
import { Badge } from "../../components/basics";
import { Confirm } from "../../components/confirm";
import { Empty } from "../../components/feedback";
import { ListCard } from "../../components/list";
import { agentName } from "../../lib/agent";
import { formatAge, formatDateTime } from "../../lib/time";

const HEADS = [
  "Where",
  "Address",
  "Last used",
  "Signed in",
  "Ends",
  { name: "Actions", num: true, hidden: true },
];

export function Sessions() {
  const client = useQueryClient();
  const list = useQuery(sessionsQuery);
  const changed = () => client.invalidateQueries({ queryKey: ["sessions"] });
  const others = list.data?.filter((s) => !s.current).length ?? 0;
  const end = async (id: string) => {
    await unwrap(api.DELETE("/v1/users/me/sessions/{session_id}", { params: { path: { session_id: id } } }));
    await changed();
  };
  const endOthers = async () => {
    await unwrap(api.DELETE("/v1/users/me/sessions"));
    await changed();
  };
  return (
    <ListCard
      title="Where you are signed in"
      actions={
        others > 0 && (
          <Confirm
            button="Sign out everywhere else"
            title="Sign out everywhere else?"
            action="Sign out everywhere else"
            run={endOthers}
            danger
          >
            Every session but this one ends at once. API keys go on working.
          </Confirm>
        )
      }
      query={list}
      items={list.data}
      caption="Sessions, last used first"
      heads={HEADS}
      empty={<Empty title="No session">Nobody is signed in as you.</Empty>}
    >
      {(s) => (
        <tr key={s.id}>
          <th scope="row" title={s.agent}>
            {agentName(s.agent)} {s.current && <Badge tone="good">this one</Badge>}
          </th>
          <td>
            <code>{s.address || "–"}</code>
          </td>
          <td title={s.used_at}>{s.current ? "now" : formatAge(s.used_at)}</td>
          <td title={s.created_at}>{formatAge(s.created_at)}</td>
          <td>{formatDateTime(s.expires_at)}</td>
          <td className="num">
            {!s.current && (
              <Confirm
                button="Sign out"
                label={`Sign out ${agentName(s.agent)} at ${s.address}`}
                title="End this session?"
                action="Sign out there"
                run={() => end(s.id)}
                danger
              >
                {agentName(s.agent)} at {s.address || "an unknown address"} is signed out at once.
              </Confirm>
            )}
          </td>
        </tr>
      )}
    </ListCard>
  );
}
