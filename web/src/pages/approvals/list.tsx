import { useInfiniteQuery, useQueryClient } from "@tanstack/react-query";
import { Link, useSearchParams } from "react-router";
import { api } from "../../api/client";
import { unwrap } from "../../api/problem";
import { approvalPages } from "../../api/queries-admin";
import type { Approval } from "../../api/types";
import { useMay, useUser } from "../../auth/use-session";
import { Badge, Page, type Tone } from "../../components/basics";
import { Confirm } from "../../components/confirm";
import { Empty } from "../../components/feedback";
import { ListCard } from "../../components/list";
import { formatAge } from "../../lib/time";
import { changeText } from "./labels";

const STATES = ["pending", "approved", "refused", "withdrawn"] as const;
const TONES: Record<Approval["state"], Tone | undefined> = {
  pending: "accent",
  approved: "good",
  refused: "bad",
  withdrawn: undefined,
};
const NAMES = { pending: "Waiting", approved: "Approved", refused: "Refused", withdrawn: "Withdrawn" };
const HEADS = ["Model", "Change", "Asked by", "State", { name: "Actions", num: true, hidden: true }];

export function Component() {
  const [params, setParams] = useSearchParams();
  const name = params.get("state");
  const state = name === "all" ? undefined : (STATES.find((s) => s === name) ?? "pending");
  const pages = useInfiniteQuery(approvalPages(state));
  return (
    <Page
      title="Approvals"
      intro="Where two people decide about a model, one asks for a change here and another approves it."
    >
      <ListCard
        actions={
          <fieldset className="segments">
            <legend className="sr-only">State</legend>
            {[...STATES, undefined].map((s) => (
              <label key={s ?? "all"}>
                <input
                  type="radio"
                  name="state"
                  checked={state === s}
                  onChange={() => setParams({ state: s ?? "all" }, { replace: true })}
                />
                {s ? NAMES[s] : "All"}
              </label>
            ))}
          </fieldset>
        }
        query={pages}
        items={pages.data?.pages.flatMap((page) => page.items)}
        caption="Requests, newest first"
        heads={HEADS}
        more="Show older requests"
        empty={
          <Empty title={state === "pending" ? "Nothing waits for a decision" : "No such request"}>
            When somebody promotes a version of a model whose policy is two people, the request stands here.
          </Empty>
        }
      >
        {(request) => <RequestRow key={request.id} request={request} />}
      </ListCard>
    </Page>
  );
}

function RequestRow({ request }: { request: Approval }) {
  const user = useUser();
  const may = useMay("ml_engineer");
  const isOwn = request.requested_by === user?.user_name;
  return (
    <tr>
      <th scope="row">
        <Link to={`/models/${request.model}`}>{request.model}</Link>
      </th>
      <td>
        {changeText(request.change)}
        {request.change.kind === "alias" && request.change.head_to_head && (
          <div className="hint">{request.change.head_to_head.reason}</div>
        )}
      </td>
      <td title={request.requested_at}>
        {isOwn ? "you" : request.requested_by}{" "}
        <span className="muted">{formatAge(request.requested_at)}</span>
      </td>
      <td>
        <Badge tone={TONES[request.state]}>{NAMES[request.state]}</Badge>
        {request.decided_by && (
          <div className="hint" title={request.decided_at ?? undefined}>
            by {request.decided_by}, {request.decided_at && formatAge(request.decided_at)}
          </div>
        )}
      </td>
      <td>{may && request.state === "pending" && <Decisions request={request} isOwn={isOwn} />}</td>
    </tr>
  );
}

function Decisions({ request, isOwn }: { request: Approval; isOwn: boolean }) {
  const client = useQueryClient();
  const params = { path: { approval_id: request.id } };
  const refresh = () =>
    Promise.all(["approvals", "models"].map((key) => client.invalidateQueries({ queryKey: [key] })));
  const approve = async () => {
    await unwrap(api.POST("/v1/approvals/{approval_id}/approve", { params }));
    await refresh();
  };
  const refuse = async () => {
    await unwrap(api.POST("/v1/approvals/{approval_id}/refuse", { params }));
    await refresh();
  };
  const subject = `${request.model}: ${changeText(request.change)}`;
  if (isOwn) {
    return (
      <span className="actions end">
        <span className="hint">Another person must approve it.</span>
        <Confirm
          button="Withdraw"
          label={`Withdraw ${subject}`}
          title="Withdraw your request?"
          action="Withdraw it"
          run={refuse}
        >
          {subject}. Nothing changes, and you can ask again.
        </Confirm>
      </span>
    );
  }
  return (
    <span className="actions end">
      <Confirm
        button="Refuse"
        label={`Refuse ${subject}`}
        title="Refuse this request?"
        action="Refuse it"
        run={refuse}
        danger
      >
        {subject}, asked for by {request.requested_by}. Nothing changes.
      </Confirm>
      <Confirm
        button="Approve"
        label={`Approve ${subject}`}
        title="Approve this request?"
        action="Approve it"
        run={approve}
      >
        {subject}, asked for by {request.requested_by}. It takes effect at once.
      </Confirm>
    </span>
  );
}
