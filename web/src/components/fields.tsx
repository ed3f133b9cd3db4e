import { type ComponentProps, type ReactNode, useId } from "react";
import { NAME_PATTERN } from "../lib/roles";

/** Attributes that tie a control to its label, hint and error. */
export interface Control {
  id: string;
  "aria-describedby": string | undefined;
  "aria-invalid": true | undefined;
}

interface Described {
  label: string;
  hint?: ReactNode;
  /** Reason why the value is refused. */
  error?: ReactNode;
}

/** Label, hint and error around a control of any kind. */
export function Field({
  label,
  hint,
  error,
  children,
}: Described & { children: (control: Control) => ReactNode }) {
  const id = useId();
  const hintId = hint ? `${id}-hint` : undefined;
  const errorId = error ? `${id}-error` : undefined;
  return (
    <div className="field">
      <label htmlFor={id}>{label}</label>
      {children({
        id,
        "aria-describedby": [hintId, errorId].filter(Boolean).join(" ") || undefined,
        "aria-invalid": error ? true : undefined,
      })}
      {hint && (
        <span id={hintId} className="hint">
          {hint}
        </span>
      )}
      {error && (
        <span id={errorId} className="field-error" role="alert">
          {error}
        </span>
      )}
    </div>
  );
}

type InputProps = Described & Omit<ComponentProps<"input">, "id" | "type">;

function InputField({ label, hint, error, className, ...input }: InputProps & { type?: string }) {
  return (
    <Field label={label} hint={hint} error={error}>
      {(control) => (
        <input {...control} className={["input", className].filter(Boolean).join(" ")} {...input} />
      )}
    </Field>
  );
}

export const TextField = (props: InputProps) => <InputField {...props} />;

export const NumberField = (props: InputProps) => <InputField type="number" {...props} />;

/** Time in UTC, to the minute; `parseField` and `toField` read and write its text. */
export const TimeField = (props: InputProps) => <InputField type="datetime-local" {...props} />;

/** Required name in the form that the API accepts for users, models, datasets and keys. */
export function NameField(props: InputProps) {
  return (
    <TextField
      required
      pattern={NAME_PATTERN}
      title="Lower-case letters, digits, - and _, starting with a letter"
      autoComplete="off"
      {...props}
    />
  );
}

/** Value of an option, with its label where the value itself is not shown. */
export type SelectOption = string | readonly [value: string, label: string];

type SelectProps = Described &
  Omit<ComponentProps<"select">, "id" | "children"> & { options: readonly SelectOption[] };

export function SelectField({ label, hint, error, options, ...select }: SelectProps) {
  return (
    <Field label={label} hint={hint} error={error}>
      {(control) => (
        <select {...control} className="input" {...select}>
          {options.map((option) => {
            const [value, text] = typeof option === "string" ? [option, option] : option;
            return (
              <option key={value} value={value}>
                {text}
              </option>
            );
          })}
        </select>
      )}
    </Field>
  );
}
