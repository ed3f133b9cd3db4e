import { Page } from "../../components/basics";
import { ApiKeys } from "../account/keys";
import { ServiceAccounts } from "./accounts";

export function Component() {
  return (
    <Page title="Machines" intro="Service accounts and API keys: what programs sign in with.">
      <ServiceAccounts />
      <ApiKeys of="team" />
    </Page>
  );
}
