import { useState } from "react";
import { Badge, Button, Card, type Tone } from "../../components/basics";
import { formatCount, formatValue } from "../../lib/format";
import { type Choice, type Counts, chosen, type Fate, type Row } from "../../lib/series-diff";
import { DAY, formatMoment, formatStep } from "../../lib/time";

const SHOWN = 100;

const CHOICES: [Choice, string][] = [
  ["known", "Known then"],
  ["changed", "Changed"],
  ["appeared", "Later"],
  ["vanished", "Gone"],
];

const EMPTY: Record<Choice, string> = {
  known: "Nothing was known yet.",
  changed: "No value has changed since.",
  appeared: "Nothing became known later.",
  vanished: "Nothing has gone since.",
};

const FATES: Record<Fate, { tone?: Tone; text: string }> = {
  same: { text: "as it is now" },
  changed: { tone: "warn", text: "changed since" },
  appeared: { tone: "accent", text: "known later" },
  vanished: { tone: "bad", text: "gone since" },
};

interface KnownTableProps {
  rows: Row[];
  counts: Counts;
  stepMs: number;
  caption: string;
  busy: boolean;
  /** Given to those who may correct a value. */
  onCorrect?: (row: Row) => void;
}

/** What the chart shows, row by row, the newest first. */
export function KnownTable({ rows, counts, stepMs, caption, busy, onCorrect }: KnownTableProps) {
  const [choice, setChoice] = useState<Choice>("known");
  const [most, setMost] = useState(SHOWN);
  const wanted = chosen(rows, choice);
  const shown = wanted.slice(-most).reverse();
  return (
    <Card
      title="Then and now"
      flush
      actions={
        <fieldset className="segments rows-shown">
          <legend className="sr-only">Rows</legend>
          {CHOICES.map(([name, label]) => (
            <label key={name}>
              <input
                type="radio"
                name="rows"
                checked={choice === name}
                onChange={() => {
                  setChoice(name);
                  setMost(SHOWN);
                }}
              />
              {label} <small data-count={name}>{formatCount(counts[name])}</small>
            </label>
          ))}
        </fieldset>
      }
    >
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a scrollable region must be reachable by keyboard */}
      <section className="scroll twin" tabIndex={0} aria-label={caption} aria-busy={busy}>
        <table className="table dense known-table" data-testid="known-table">
          <caption className="sr-only">{caption}</caption>
          <thead>
            <tr>
              <th scope="col">Time (UTC)</th>
              <th scope="col" className="num">
                Known then
              </th>
              <th scope="col" className="num">
                Known now
              </th>
              <th scope="col" className="num">
                Difference
              </th>
              <th scope="col">What became of it</th>
              {onCorrect && (
                <th scope="col">
                  <span className="sr-only">Correct</span>
                </th>
              )}
            </tr>
          </thead>
          <tbody>
            {shown.map((row) => (
              <Line key={row.time} row={row} stepMs={stepMs} onCorrect={onCorrect} />
            ))}
          </tbody>
        </table>
        {wanted.length === 0 && <p className="card-body muted">{EMPTY[choice]}</p>}
        {wanted.length > shown.length && (
          <div className="card-body">
            <Button small onClick={() => setMost(most * 5)}>
              Show more of {formatCount(wanted.length)} rows
            </Button>
          </div>
        )}
      </section>
    </Card>
  );
}

interface LineProps {
  row: Row;
  stepMs: number;
  onCorrect?: (row: Row) => void;
}

function Line({ row, stepMs, onCorrect }: LineProps) {
  const { tone, text } = FATES[row.fate];
  const time = timeOf(row.time, stepMs);
  return (
    <tr data-time={new Date(row.time).toISOString()} data-fate={row.fate}>
      <th scope="row">{time}</th>
      <td className="num" data-column="then">
        {row.fate === "appeared" ? <span className="muted">not yet known</span> : formatValue(row.was)}
      </td>
      <td className="num" data-column="now">
        {row.fate === "vanished" ? <span className="muted">gone</span> : <b>{formatValue(row.is)}</b>}
      </td>
      <td className="num">{differenceOf(row)}</td>
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

function differenceOf({ was, is, fate }: Row): string {
  if (fate !== "changed" || typeof was !== "number" || typeof is !== "number") return "";
  const text = formatValue(Math.abs(is - was));
  return is < was ? `−${text}` : `+${text}`;
}

/** With the year, since a series may be long. */
export const timeOf = (time: number, stepMs: number) =>
  stepMs >= DAY ? formatStep(time, stepMs) : formatMoment(time);
