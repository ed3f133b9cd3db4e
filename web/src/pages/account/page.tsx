import { useUser } from "../../auth/use-session";
import { Page } from "../../components/basics";
import { ROLE_NAMES } from "../../lib/roles";
import { ApiKeys } from "./keys";
import { Sessions } from "./sessions";
import { SignInCard } from "./sign-in-card";

export function Component() {
  const user = useUser();
  return (
    <Page
      title="Account"
      intro={
        user &&
        `Signed in as ${user.user_name}, with the role ${ROLE_NAMES[user.role]}, in the team ${user.team}.`
      }
    >
      {user && <SignInCard user={user} />}
      <Sessions />
      <ApiKeys />
    </Page>
  );
}
