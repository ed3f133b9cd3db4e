import { useEffect, useState } from "react";
import { useSearchParams } from "react-router";
import { Button, Field } from "../../components/basics";

const OUTCOMES = ["done", "refused", "failed", "interrupted"] as const;
const TYPING_MS = 350;

/** The filters live in the address, so that what was found can be shared. */
export function Filters() {
  const [params, setParams] = useSearchParams();
  const set = (name: string, value: string) =>
    setParams(
      (now) => {
        if (value) now.set(name, value);
        else now.delete(name);
        return now;
      },
      { replace: true },
    );
  const given = (name: string) => params.get(name) ?? "";
  return (
    <fieldset className="filters fields">
      <legend className="sr-only">Filters</legend>
      <Typed
        label="Who"
        placeholder="User or account name"
        value={given("actor")}
        onChange={(v) => set("actor", v)}
      />
      <Typed
        label="What"
        placeholder="Such as api-keys"
        value={given("action")}
        onChange={(v) => set("action", v)}
      />
      <Field label="Outcome">
        {(id) => (
          <select
            id={id}
            className="input"
            value={given("outcome")}
            onChange={(e) => set("outcome", e.target.value)}
          >
            <option value="">any</option>
            {OUTCOMES.map((outcome) => (
              <option key={outcome}>{outcome}</option>
            ))}
          </select>
        )}
      </Field>
      {(["since", "until"] as const).map((name) => (
        <Field key={name} label={name === "since" ? "From (UTC)" : "Until (UTC)"}>
          {(id) => (
            <input
              id={id}
              type="datetime-local"
              className="input"
              value={given(name)}
              onChange={(e) => set(name, e.target.value)}
            />
          )}
        </Field>
      ))}
      {params.size > 0 && (
        <Button variant="ghost" onClick={() => setParams({}, { replace: true })}>
          Clear
        </Button>
      )}
    </fieldset>
  );
}

interface TypedProps {
  label: string;
  placeholder: string;
  value: string;
  onChange: (value: string) => void;
}

/** A text filter that takes effect when typing pauses. */
function Typed({ label, placeholder, value, onChange }: TypedProps) {
  const [text, setText] = useState(value);
  useEffect(() => setText(value), [value]);
  useEffect(() => {
    if (text === value) return;
    const timer = setTimeout(() => onChange(text.trim()), TYPING_MS);
    return () => clearTimeout(timer);
  });
  return (
    <Field label={label}>
      {(id) => (
        <input
          id={id}
          className="input"
          placeholder={placeholder}
          value={text}
          spellCheck={false}
          autoCapitalize="none"
          onChange={(e) => setText(e.target.value)}
        />
      )}
    </Field>
  );
}
