import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { serviceAccounts } from "../../api/queries-admin";
import type { ServiceAccount } from "../../api/types";
import { Button } from "../../components/basics";
import { Dialog, Empty } from "../../components/feedback";
import { ListCard } from "../../components/list";
import { Secret } from "../../components/secret";
import { AccountForm } from "./account-form";
import { AccountRow } from "./account-row";
import { useChangeAccount, useCreateAccount } from "./use-accounts";

const HEADS = ["Name", "Client id", "Role", "May", "State", { name: "Actions", num: true, hidden: true }];

type OpenDialog =
  | { kind: "new" }
  | { kind: "edit"; account: ServiceAccount }
  | { kind: "secret"; text: string };
const TITLES = { new: "New service account", edit: "Change the account", secret: "Client secret" };

export function ServiceAccounts() {
  const list = useQuery(serviceAccounts);
  const [dialog, setDialog] = useState<OpenDialog | null>(null);
  const close = () => setDialog(null);
  const showSecret = (text: string) => setDialog({ kind: "secret", text });
  return (
    <>
      <ListCard
        title="Service accounts"
        actions={
          <Button small icon="plus" onClick={() => setDialog({ kind: "new" })}>
            New service account
          </Button>
        }
        query={list}
        items={list.data}
        caption="Service accounts"
        heads={HEADS}
        empty={
          <Empty title="No service account yet">
            A pipeline that belongs to the team, not to one person, signs in with an account of its own.
          </Empty>
        }
      >
        {(account) => (
          <AccountRow
            key={account.id}
            account={account}
            onEdit={() => setDialog({ kind: "edit", account })}
            onSecret={showSecret}
          />
        )}
      </ListCard>
      <Dialog title={dialog ? TITLES[dialog.kind] : ""} open={dialog !== null} onClose={close}>
        {dialog?.kind === "new" && <NewAccount onSecret={showSecret} onCancel={close} />}
        {dialog?.kind === "edit" && <EditAccount account={dialog.account} onDone={close} />}
        {dialog?.kind === "secret" && <Secret name="client secret" text={dialog.text} onDone={close} />}
      </Dialog>
    </>
  );
}

interface NewAccountProps {
  onSecret: (secret: string) => void;
  onCancel: () => void;
}

function NewAccount({ onSecret, onCancel }: NewAccountProps) {
  const create = useCreateAccount(onSecret);
  return (
    <AccountForm save={create.mutate} pending={create.isPending} error={create.error} onCancel={onCancel} />
  );
}

function EditAccount({ account, onDone }: { account: ServiceAccount; onDone: () => void }) {
  const change = useChangeAccount(account.id, onDone);
  return (
    <AccountForm
      account={account}
      save={change.mutate}
      pending={change.isPending}
      error={change.error}
      onCancel={onDone}
    />
  );
}
