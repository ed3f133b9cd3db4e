import type { Preset } from "../../api/types";
import { familyName } from "../../lib/format";

/** How much a training job tries: a preset, or families of one's own choice. */
export interface Effort {
  preset: Preset | "own";
  families: string[];
}

const FAMILIES: { family: string; what: string }[] = [
  { family: "seasonal_naive", what: "The floor: the same hour of the last season." },
  { family: "theta", what: "A cheap classical model for each series." },
  { family: "statistical", what: "A thorough classical model for each series." },
  { family: "boosting", what: "LightGBM on lags, rolling statistics and calendar." },
  { family: "boosting_recent", what: "The same, for data whose ways have changed." },
  { family: "boosting_plain", what: "The same without covariates, for those that mislead." },
  { family: "tft", what: "A deep network over all series, with attention." },
  { family: "ensemble", what: "A weighted mean of those that did best." },
];
export const FAMILY_NAMES = FAMILIES.map((f) => f.family);

/** The platform knows what each stands for; here it is told in words. */
const PRESETS: { preset: Effort["preset"]; name: string; what: string; minutes?: number }[] = [
  { preset: "fast", name: "Fast", what: "Naive, theta, one boosting and their blend.", minutes: 2 },
  { preset: "balanced", name: "Balanced", what: "Every family but the deep network.", minutes: 10 },
  { preset: "best", name: "Best", what: "Every family, the deep network included.", minutes: 60 },
  {
    preset: "own",
    name: "My own choice",
    what: "You choose the families; no time limit unless you set one.",
  },
];

/** The time limit that comes with it, if any. */
export const minutesOf = ({ preset }: Effort) => PRESETS.find((p) => p.preset === preset)?.minutes;

export function EffortFields({ effort, onChange }: { effort: Effort; onChange: (effort: Effort) => void }) {
  const { preset, families } = effort;
  const toggle = (family: string, on: boolean) =>
    onChange({ preset, families: FAMILY_NAMES.filter((f) => (f === family ? on : families.includes(f))) });
  return (
    <>
      <fieldset>
        <legend>How much to try</legend>
        <div className="choices">
          {PRESETS.map((p) => (
            <label key={p.preset} className="choice">
              <input
                type="radio"
                name="preset"
                checked={preset === p.preset}
                onChange={() => onChange({ preset: p.preset, families })}
              />
              <span>
                <b>{p.name}</b>
                <small>
                  {p.what} {p.minutes && `At most ${p.minutes} minutes.`}
                </small>
              </span>
            </label>
          ))}
        </div>
      </fieldset>
      {preset === "own" && (
        <fieldset>
          <legend>Families</legend>
          <div className="choices">
            {FAMILIES.map(({ family, what }) => (
              <label key={family} className="choice">
                <input
                  type="checkbox"
                  checked={families.includes(family)}
                  onChange={(e) => toggle(family, e.target.checked)}
                />
                <span>
                  <b>{familyName(family)}</b>
                  <small>{what}</small>
                </span>
              </label>
            ))}
          </div>
        </fieldset>
      )}
    </>
  );
}
