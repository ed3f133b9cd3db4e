import { TextField } from "../components/fields";

/** Code of the second factor, in a form that phones and password managers fill in. */
export function CodeField({ autoFocus }: { autoFocus?: boolean }) {
  return (
    <TextField
      label="Code"
      hint="The six digits that your authenticator app shows now."
      name="code"
      className="code"
      required
      ref={autoFocus ? focus : undefined}
      inputMode="numeric"
      autoComplete="one-time-code"
      pattern="[0-9]{3} ?[0-9]{3}"
      title="Six digits"
      maxLength={7}
    />
  );
}

const focus = (input: HTMLInputElement | null) => input?.focus();
