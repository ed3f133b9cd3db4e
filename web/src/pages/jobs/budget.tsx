import type { ReactNode } from "react";
import type { Preset } from "../../api/types";
import { familyName } from "../../lib/format";

/** Amount of work of a training job: a preset, or families of one's own choice. */
export interface Budget {
  preset: Preset | "own";
  families: string[];
}

const FAMILIES: { family: string; note: string }[] = [
  { family: "seasonal_naive", note: "The baseline: the same hour of the last season." },
  { family: "theta", note: "A cheap classical model for each series." },
  { family: "statistical", note: "A thorough classical model for each series." },
  { family: "boosting", note: "LightGBM on lags, rolling statistics and calendar." },
  { family: "boosting_recent", note: "The same, for data whose ways have changed." },
  { family: "boosting_plain", note: "The same without covariates, for those that mislead." },
  { family: "tft", note: "A deep network over all series, with attention." },
  { family: "ensemble", note: "A weighted mean of those that did best." },
];
export const FAMILY_NAMES = FAMILIES.map(({ family }) => family);

/** Descriptions of the presets; the platform knows the families and the time limit of each. */
const PRESETS: { preset: Budget["preset"]; name: string; note: string; minutes?: number }[] = [
  { preset: "fast", name: "Fast", note: "Naive, theta, one boosting and their blend.", minutes: 2 },
  { preset: "balanced", name: "Balanced", note: "Every family but the deep network.", minutes: 10 },
  { preset: "best", name: "Best", note: "Every family, the deep network included.", minutes: 60 },
  {
    preset: "own",
    name: "My own choice",
    note: "You choose the families; no time limit unless you set one.",
  },
];

/** Return the time limit that comes with the preset, if any. */
export const timeLimitMinutes = (budget: Budget): number | undefined =>
  PRESETS.find(({ preset }) => preset === budget.preset)?.minutes;

interface BudgetFieldsProps {
  budget: Budget;
  onChange: (budget: Budget) => void;
}

export function BudgetFields({ budget, onChange }: BudgetFieldsProps) {
  return (
    <>
      <fieldset>
        <legend>How much to try</legend>
        <div className="choices">
          {PRESETS.map(({ preset, name, note, minutes }) => (
            <Choice key={preset} name={name} note={`${note} ${minutes ? `At most ${minutes} minutes.` : ""}`}>
              <input
                type="radio"
                name="preset"
                checked={budget.preset === preset}
                onChange={() => onChange({ ...budget, preset })}
              />
            </Choice>
          ))}
        </div>
      </fieldset>
      {budget.preset === "own" && (
        <FamilyChoices
          families={budget.families}
          onChange={(families) => onChange({ ...budget, families })}
        />
      )}
    </>
  );
}

interface FamilyChoicesProps {
  families: string[];
  onChange: (families: string[]) => void;
}

function FamilyChoices({ families, onChange }: FamilyChoicesProps) {
  const toggle = (family: string, checked: boolean) =>
    onChange(FAMILY_NAMES.filter((name) => (name === family ? checked : families.includes(name))));
  return (
    <fieldset>
      <legend>Families</legend>
      <div className="choices">
        {FAMILIES.map(({ family, note }) => (
          <Choice key={family} name={familyName(family)} note={note}>
            <input
              type="checkbox"
              checked={families.includes(family)}
              onChange={(event) => toggle(family, event.target.checked)}
            />
          </Choice>
        ))}
      </div>
    </fieldset>
  );
}

function Choice({ name, note, children }: { name: string; note: string; children: ReactNode }) {
  return (
    // biome-ignore lint/a11y/noLabelWithoutControl: the control is the child
    <label className="choice">
      {children}
      <span>
        <b>{name}</b>
        <small>{note}</small>
      </span>
    </label>
  );
}
