import { Field } from "../components/basics";

/** A code of the second factor, the way phones and password managers fill it in. */
export function CodeField({ autoFocus }: { autoFocus?: boolean }) {
  return (
    <Field label="Code" hint="The six digits that your authenticator app shows now.">
      {(id, describedBy) => (
        <input
          id={id}
          name="code"
          className="input code"
          required
          ref={autoFocus ? focus : undefined}
          inputMode="numeric"
          autoComplete="one-time-code"
          pattern="[0-9]{3} ?[0-9]{3}"
          title="Six digits"
          maxLength={7}
          aria-describedby={describedBy}
        />
      )}
    </Field>
  );
}

const focus = (input: HTMLInputElement | null) => input?.focus();
