import { Card } from "../../components/basics";
import { NameField, NumberField, SelectField, TimeField } from "../../components/fields";
import { type Budget, BudgetFields, timeLimitMinutes } from "./budget";
import { TFT_FIELDS, tftControl } from "./train-spec";

interface DataSectionProps {
  datasets: string[];
  dataset: string;
  onDataset: (name: string) => void;
}

export function DataSection({ datasets, dataset, onDataset }: DataSectionProps) {
  return (
    <Card title="What to learn">
      <div className="form-grid">
        <SelectField
          label="Dataset"
          value={dataset}
          options={datasets}
          onChange={(event) => onDataset(event.target.value)}
        />
        <NameField
          label="Model name"
          hint="A new name, or one that gets a new version."
          name="model"
          placeholder="demand"
        />
        <NumberField
          label="Horizon"
          hint="Steps to forecast."
          name="h"
          min={1}
          max={10000}
          required
          defaultValue={24}
        />
        <TimeField
          label="As of (UTC)"
          hint="Learn only what was known then; empty for now."
          name="as-of"
          step={3600}
        />
      </div>
    </Card>
  );
}

interface ComparisonSectionProps {
  budget: Budget;
  onBudget: (budget: Budget) => void;
  /** Columns known in advance, which may be scored as forecasts. */
  futureColumns: readonly string[];
}

export function ComparisonSection({ budget, onBudget, futureColumns }: ComparisonSectionProps) {
  return (
    <Card title="How to compare">
      <div className="stack">
        <BudgetFields budget={budget} onChange={onBudget} />
        <div className="form-grid fixed">
          <NumberField
            label="Backtest windows"
            hint="Rolling origins; empty for as many as tell enough."
            name="windows"
            min={1}
            max={50}
          />
          <NumberField
            label="Time limit (minutes)"
            hint={`Shared among the families; empty for ${timeLimitMinutes(budget) ?? "as long as it takes"}.`}
            name="minutes"
            min={1}
            max={10080}
          />
        </div>
        {futureColumns.length > 0 && <BaselineChoices columns={futureColumns} />}
      </div>
    </Card>
  );
}

function BaselineChoices({ columns }: { columns: readonly string[] }) {
  return (
    <fieldset>
      <legend>Baselines: columns known in advance, scored as forecasts on their own</legend>
      <div className="actions">
        {columns.map((column) => (
          <label key={column} className="check">
            <input type="checkbox" name="baseline" value={column} />
            <code>{column}</code>
          </label>
        ))}
      </div>
    </fieldset>
  );
}

export function TftSection() {
  return (
    <details className="card disclosure">
      <summary>Advanced: size and budget of the Temporal Fusion Transformer</summary>
      <div className="card-body form-grid">
        {TFT_FIELDS.map(({ name, ...field }) => (
          <NumberField key={name} name={tftControl(name)} placeholder="default" {...field} />
        ))}
      </div>
    </details>
  );
}
