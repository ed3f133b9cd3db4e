import { useState } from "react";
import { Badge, Button, Card } from "../../components/basics";
import { Segments } from "../../components/segments";
import { formatCount, formatValue } from "../../lib/format";
import { type DiffFilter, type DiffRow, type FateCounts, filterRows } from "../../lib/series-diff";
import { differenceText, EMPTY_LABELS, FATE_LABELS, FILTER_LABELS, rowTime } from "./diff";

const FIRST_ROWS = 100;
const FILTERS = Object.entries(FILTER_LABELS) as [DiffFilter, string][];

interface AsOfTableProps {
  rows: DiffRow[];
  counts: FateCounts;
  stepMs: number;
  caption: string;
  busy: boolean;
  /** Given to those who may correct a value. */
  onCorrect?: (row: DiffRow) => void;
}

/** Rows of the as-of chart, the newest first, with a filter by fate. */
export function AsOfTable({ rows, counts, stepMs, caption, busy, onCorrect }: AsOfTableProps) {
  const [filter, setFilter] = useState<DiffFilter>("known");
  const [limit, setLimit] = useState(FIRST_ROWS);
  const matching = filterRows(rows, filter);
  const visible = matching.slice(-limit).reverse();
  const choose = (next: DiffFilter) => {
    setFilter(next);
    setLimit(FIRST_ROWS);
  };
  return (
    <Card
      title="Then and now"
      flush
      actions={<FilterPicker filter={filter} counts={counts} onChange={choose} />}
    >
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a scrollable region must be reachable by keyboard */}
      <section className="scroll tall" tabIndex={0} aria-label={caption} aria-busy={busy}>
        <table className="table dense as-of-table" data-testid="as-of-table">
          <caption className="sr-only">{caption}</caption>
          <Heads correctable={onCorrect !== undefined} />
          <tbody>
            {visible.map((row) => (
              <Row key={row.time} row={row} stepMs={stepMs} onCorrect={onCorrect} />
            ))}
          </tbody>
        </table>
        {matching.length === 0 && <p className="card-body muted">{EMPTY_LABELS[filter]}</p>}
        {matching.length > visible.length && (
          <div className="card-body">
            <Button small onClick={() => setLimit(limit * 5)}>
              Show more of {formatCount(matching.length)} rows
            </Button>
          </div>
        )}
      </section>
    </Card>
  );
}

interface FilterPickerProps {
  filter: DiffFilter;
  counts: FateCounts;
  onChange: (filter: DiffFilter) => void;
}

function FilterPicker({ filter, counts, onChange }: FilterPickerProps) {
  const options = FILTERS.map(
    ([name, label]) =>
      [
        name,
        <>
          {label} <small data-count={name}>{formatCount(counts[name])}</small>
        </>,
      ] as const,
  );
  return (
    <Segments
      className="rows-shown"
      legend="Rows"
      name="rows"
      value={filter}
      options={options}
      onChange={onChange}
    />
  );
}

function Heads({ correctable }: { correctable: boolean }) {
  return (
    <thead>
      <tr>
        <th scope="col">Time (UTC)</th>
        {["Known then", "Known now", "Difference"].map((name) => (
          <th key={name} scope="col" className="num">
            {name}
          </th>
        ))}
        <th scope="col">What became of it</th>
        {correctable && (
          <th scope="col">
            <span className="sr-only">Correct</span>
          </th>
        )}
      </tr>
    </thead>
  );
}

interface RowProps {
  row: DiffRow;
  stepMs: number;
  onCorrect?: (row: DiffRow) => void;
}

function Row({ row, stepMs, onCorrect }: RowProps) {
  const { tone, text } = FATE_LABELS[row.fate];
  const time = rowTime(row.time, stepMs);
  return (
    <tr data-time={new Date(row.time).toISOString()} data-fate={row.fate}>
      <th scope="row">{time}</th>
      <td className="num" data-column="then">
        {row.fate === "appeared" ? <span className="muted">not yet known</span> : formatValue(row.was)}
      </td>
      <td className="num" data-column="now">
        {row.fate === "vanished" ? <span className="muted">gone</span> : <b>{formatValue(row.is)}</b>}
      </td>
      <td className="num">{differenceText(row)}</td>
      <td>
        {row.fate === "same" ? <span className="muted">{text}</span> : <Badge tone={tone}>{text}</Badge>}
      </td>
      {onCorrect && (
        <td className="num">
          {row.fate !== "vanished" && (
            <Button small variant="ghost" aria-label={`Correct ${time}`} onClick={() => onCorrect(row)}>
              Correct
            </Button>
          )}
        </td>
      )}
    </tr>
  );
}
