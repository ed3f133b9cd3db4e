import { api } from "../../api/client";
import { unwrap } from "../../api/problem";
import type { ServiceAccount } from "../../api/types";
import { Badge, Button, CopyText } from "../../components/basics";
import { Confirm } from "../../components/confirm";
import { ScopeBadges } from "../../components/scopes";
import { ROLE_NAMES } from "../../lib/roles";
import { formatAge } from "../../lib/time";
import { useRefreshAccounts } from "./use-accounts";

interface AccountRowProps {
  account: ServiceAccount;
  onEdit: () => void;
  onSecret: (secret: string) => void;
}

export function AccountRow({ account, onEdit, onSecret }: AccountRowProps) {
  return (
    <tr>
      <th scope="row">
        {account.name}
        <div className="hint">
          {formatAge(account.created_at)} by {account.created_by}
        </div>
      </th>
      <td>
        <CopyText
          text={account.id}
          short={`${account.id.slice(0, 8)}…`}
          label={`Copy the client id of ${account.name}`}
        />
      </td>
      <td>{ROLE_NAMES[account.role]}</td>
      <td>
        <ScopeBadges scopes={account.scopes} />
      </td>
      <td>{account.disabled ? <Badge tone="warn">Disabled</Badge> : <Badge tone="good">Active</Badge>}</td>
      <td>
        <AccountActions account={account} onEdit={onEdit} onSecret={onSecret} />
      </td>
    </tr>
  );
}

function AccountActions({ account, onEdit, onSecret }: AccountRowProps) {
  const refresh = useRefreshAccounts();
  const path = { params: { path: { client_id: account.id } } };
  const renew = async () => {
    const renewed = await unwrap(api.POST("/v1/clients/{client_id}/secret", path));
    onSecret(renewed.client_secret);
  };
  const remove = async () => {
    await unwrap(api.DELETE("/v1/clients/{client_id}", path));
    await refresh();
  };
  return (
    <span className="actions end">
      <Button small aria-label={`Change ${account.name}`} onClick={onEdit}>
        Change
      </Button>
      <Confirm
        button="New secret"
        label={`New secret for ${account.name}`}
        title={`A new secret for ${account.name}?`}
        action="Make a new secret"
        run={renew}
      >
        The secret of now stops working at once; whatever uses it needs the new one.
      </Confirm>
      <Confirm
        button="Delete"
        label={`Delete ${account.name}`}
        title={`Delete ${account.name}?`}
        action="Delete the account"
        keep="Keep it"
        run={remove}
        danger
      >
        Its tokens stop working at once. What it did stays in the audit trail.
      </Confirm>
    </span>
  );
}
