interface LegendKeyProps {
  /** Class of the line's look. */
  kind: string;
  name: string;
  /** Value under the cursor. */
  value?: string;
}

/** Entry of a chart's legend. */
export function LegendKey({ kind, name, value }: LegendKeyProps) {
  return (
    <span className="key">
      <i className={kind} />
      {name} {value && <b>{value}</b>}
    </span>
  );
}
