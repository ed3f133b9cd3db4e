import { useState } from "react";
import type { User } from "../../api/types";
import { Badge, Button, Card } from "../../components/basics";
import { Dialog } from "../../components/feedback";
import { ChangePassword } from "./password";
import { EnrolFactor, RemoveFactor } from "./second-factor";

type Open = "password" | "enrol" | "remove" | null;

/** Means of signing in: password and second factor, or another organisation. */
export function SignInCard({ user }: { user: User }) {
  const [open, setOpen] = useState<Open>(null);
  const close = () => setOpen(null);
  if (user.external) {
    return (
      <Card title="Signing in">
        <p>You sign in at your organisation, which keeps your password and second factor.</p>
      </Card>
    );
  }
  return (
    <Card title="Signing in">
      <ul className="settings">
        <li>
          <div>
            <b>Password</b>
            <p className="hint">Changing it signs you out everywhere else.</p>
          </div>
          <Button small onClick={() => setOpen("password")}>
            Change the password
          </Button>
        </li>
        <li>
          <div>
            <b>Second factor</b>{" "}
            {user.second_factor ? <Badge tone="good">On</Badge> : <Badge tone="warn">Off</Badge>}
            <p className="hint">
              {user.second_factor
                ? "Signing in takes a code of your authenticator app besides the password."
                : "With a code of an authenticator app, a stolen password alone opens nothing."}
            </p>
          </div>
          <Button small onClick={() => setOpen(user.second_factor ? "remove" : "enrol")}>
            {user.second_factor ? "Turn it off" : "Turn it on"}
          </Button>
        </li>
      </ul>
      <Dialog title="Change the password" open={open === "password"} onClose={close}>
        <ChangePassword userName={user.user_name} onDone={close} />
      </Dialog>
      <Dialog title="Turn the second factor on" open={open === "enrol"} onClose={close}>
        <EnrolFactor onDone={close} />
      </Dialog>
      <Dialog title="Turn the second factor off?" open={open === "remove"} onClose={close}>
        <RemoveFactor onDone={close} />
      </Dialog>
    </Card>
  );
}
