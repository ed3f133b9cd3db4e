import type { ReactNode } from "react";

interface SegmentsProps<T extends string> {
  /** Read aloud only. */
  legend: string;
  /** Name of the radio group. */
  name: string;
  value: T;
  options: readonly (readonly [value: T, label: ReactNode])[];
  onChange: (value: T) => void;
  disabled?: boolean;
  className?: string;
}

/** One choice among a few, as radio buttons beside each other. */
export function Segments<T extends string>(props: SegmentsProps<T>) {
  const { legend, name, value, options, onChange, disabled, className } = props;
  return (
    <fieldset className={["segments", className].filter(Boolean).join(" ")} disabled={disabled}>
      <legend className="sr-only">{legend}</legend>
      {options.map(([option, label]) => (
        <label key={option}>
          <input type="radio" name={name} checked={value === option} onChange={() => onChange(option)} />
          {label}
        </label>
      ))}
    </fieldset>
  );
}
