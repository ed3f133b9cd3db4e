import { Page } from "../../components/basics";
import { ApiKeys } from "../account/keys";
import { ServiceAccounts } from "./accounts";

export function Component() {
  return (
    <Page title="Service accounts" intro="Accounts and API keys that programs sign in with.">
      <ServiceAccounts />
      <ApiKeys owner="team" />
    </Page>
  );
}
