import type { ForecastMethod } from "../../api/types";
import type { Tone } from "../../components/basics";

/** Methods of the fallback chain, in its order. */
const METHODS: Record<ForecastMethod, string> = {
  model: "From the model",
  seasonal_naive: "From seasonal naive",
  last_value: "From the last value",
  typical: "From the rest of the panel",
  none: "Refused",
};

const REASONS: Record<string, string> = {
  unknown_series: "The model has not seen this series.",
  short_history: "The history is too short for the model.",
  no_history: "There is no history to forecast from.",
  missing_future: "Values that the model needs in advance are missing.",
  model_failed: "The model failed on this series.",
  off_grid: "The times that were sent are not on the model's grid.",
  out_of_range: "The times that were sent are too many, or too late.",
  beyond_model: "The model was not trained for these steps or quantiles.",
};

export const methodName = (method: ForecastMethod): string => METHODS[method] ?? method;

export function methodTone(method: ForecastMethod): Tone {
  if (method === "model") return "good";
  return method === "none" ? "bad" : "warn";
}

/** Reason why the fallback chain answered instead of the model. */
export const reasonText = (reason: string): string => REASONS[reason] ?? reason;
