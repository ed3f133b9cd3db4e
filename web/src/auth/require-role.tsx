import { useQuery } from "@tanstack/react-query";
import { Outlet } from "react-router";
import { me } from "../api/queries";
import type { Role } from "../api/types";
import { ButtonLink, Card, LoadingRows, Page } from "../components/basics";
import { Empty, ProblemView } from "../components/feedback";
import { allows, ROLE_NAMES } from "../lib/roles";

/** Route whose pages need a role or a higher one. The server decides; this only says it early. */
export function RequireRole({ least }: { least: Role }) {
  const user = useQuery(me);
  if (user.error) return <ProblemView error={user.error} retry={() => user.refetch()} />;
  if (!user.data) return <LoadingRows />;
  if (allows(user.data.role, least)) return <Outlet />;
  return (
    <Page title="Not for your role">
      <Card flush>
        <Empty
          title={`This page needs the role ${ROLE_NAMES[least]}`}
          action={<ButtonLink to="/explorer">To the explorer</ButtonLink>}
        >
          You are signed in as {user.data.user_name}, {ROLE_NAMES[user.data.role]}. An admin of your team can
          change your role.
        </Empty>
      </Card>
    </Page>
  );
}
