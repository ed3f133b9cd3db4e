import { useEffect, useState } from "react";
import { useSearchParams } from "react-router";
import { Button } from "../../components/basics";
import { SelectField, TextField, TimeField } from "../../components/fields";

const OUTCOMES = [["", "any"], "done", "refused", "failed", "interrupted"] as const;
const TYPING_MS = 350;

/** Filters of the audit trail; they live in the address, so that a result can be shared. */
export function Filters() {
  const [params, setParams] = useSearchParams();
  const set = (name: string, value: string) =>
    setParams(
      (current) => {
        if (value) current.set(name, value);
        else current.delete(name);
        return current;
      },
      { replace: true },
    );
  const textOf = (name: string) => params.get(name) ?? "";
  return (
    <fieldset className="filters fields">
      <legend className="sr-only">Filters</legend>
      <TypedFilter
        label="Who"
        placeholder="User or account name"
        value={textOf("actor")}
        onChange={(actor) => set("actor", actor)}
      />
      <TypedFilter
        label="What"
        placeholder="Such as api-keys"
        value={textOf("action")}
        onChange={(action) => set("action", action)}
      />
      <SelectField
        label="Outcome"
        value={textOf("outcome")}
        options={OUTCOMES}
        onChange={(event) => set("outcome", event.target.value)}
      />
      <TimeField
        label="From (UTC)"
        value={textOf("since")}
        onChange={(event) => set("since", event.target.value)}
      />
      <TimeField
        label="Until (UTC)"
        value={textOf("until")}
        onChange={(event) => set("until", event.target.value)}
      />
      {params.size > 0 && (
        <Button variant="ghost" onClick={() => setParams({}, { replace: true })}>
          Clear
        </Button>
      )}
    </fieldset>
  );
}

interface TypedFilterProps {
  label: string;
  placeholder: string;
  value: string;
  onChange: (value: string) => void;
}

/** Text filter that takes effect when typing pauses. */
function TypedFilter({ label, placeholder, value, onChange }: TypedFilterProps) {
  const [text, setText] = useState(value);
  useEffect(() => setText(value), [value]);
  useEffect(() => {
    if (text === value) return;
    const timer = setTimeout(() => onChange(text.trim()), TYPING_MS);
    return () => clearTimeout(timer);
  });
  return (
    <TextField
      label={label}
      placeholder={placeholder}
      value={text}
      spellCheck={false}
      autoCapitalize="none"
      onChange={(event) => setText(event.target.value)}
    />
  );
}
