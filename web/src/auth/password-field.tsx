import { useState } from "react";
import { Button } from "../components/basics";
import { Field } from "../components/fields";

interface PasswordFieldProps {
  label?: string;
  name?: string;
  autoComplete: "current-password" | "new-password";
}

/** Password that can be shown while it is typed. */
export function PasswordField({ label = "Password", name = "password", autoComplete }: PasswordFieldProps) {
  const [shown, setShown] = useState(false);
  const fresh = autoComplete === "new-password";
  return (
    <Field label={label} hint={fresh ? "At least 12 characters." : undefined}>
      {(control) => (
        <span className="password">
          <input
            {...control}
            name={name}
            className="input"
            type={shown ? "text" : "password"}
            required
            minLength={fresh ? 12 : undefined}
            maxLength={256}
            autoComplete={autoComplete}
          />
          <Button variant="ghost" small aria-pressed={shown} onClick={() => setShown(!shown)}>
            {shown ? "Hide" : "Show"}
          </Button>
        </span>
      )}
    </Field>
  );
}
