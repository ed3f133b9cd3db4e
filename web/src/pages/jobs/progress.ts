import type { Job, JobEvent } from "../../api/types";

export interface ProgressStep {
  name: string;
  at: string;
  /** Null while it runs. */
  seconds: number | null;
}

/** Progress of a job, as far as its events report it. */
export interface JobProgress {
  steps: ProgressStep[];
  /** Figures by name, by what was measured. */
  metrics: Record<string, Record<string, unknown>>;
  state: Job["state"] | null;
  /** Last message of the step that runs. */
  note: string;
  lastSeq: number;
}

export const NO_PROGRESS: JobProgress = { steps: [], metrics: {}, state: null, note: "", lastSeq: 0 };

const STATES = new Set(["PENDING", "RUNNING", "STOPPED", "SUCCEEDED", "FAILED"]);

/** Add one event; an event that came before changes nothing. */
export function addEvent(progress: JobProgress, event: JobEvent): JobProgress {
  if (event.seq <= progress.lastSeq) return progress;
  return { ...progress, ...changeBy(event, progress), lastSeq: event.seq };
}

function changeBy(event: JobEvent, progress: JobProgress): Partial<JobProgress> {
  switch (event.kind) {
    case "state": {
      const state = String(event.data.state ?? "");
      return STATES.has(state) ? { state: state as Job["state"] } : {};
    }
    case "progress":
      return { note: event.message, steps: withStartedStep(progress.steps, event) };
    case "step": {
      const seconds = typeof event.data.seconds === "number" ? event.data.seconds : 0;
      const done = progress.steps.filter((step) => step.seconds !== null);
      return { note: "", steps: [...done, { name: event.message, at: event.at, seconds }] };
    }
    case "metric": {
      const figures = { ...progress.metrics[event.message], ...event.data };
      return { metrics: { ...progress.metrics, [event.message]: figures } };
    }
    default:
      return {};
  }
}

/** Open a step with the first message after a finished one; later messages are its notes. */
function withStartedStep(steps: ProgressStep[], event: JobEvent): ProgressStep[] {
  if (steps.at(-1)?.seconds === null) return steps;
  return [...steps, { name: event.message, at: event.at, seconds: null }];
}
