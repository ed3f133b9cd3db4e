import type { Job, JobEvent } from "../../api/types";

export interface StoryStep {
  name: string;
  at: string;
  /** Null while it runs. */
  seconds: number | null;
}

export interface Story {
  steps: StoryStep[];
  /** By what was measured: figure by name. */
  metrics: Record<string, Record<string, unknown>>;
  state: Job["state"] | null;
  progressNote: string;
  lastSeq: number;
}

export const NO_STORY: Story = { steps: [], metrics: {}, state: null, progressNote: "", lastSeq: 0 };

const STATES = new Set(["PENDING", "RUNNING", "STOPPED", "SUCCEEDED", "FAILED"]);

/** Adds one event; an event that was told before changes nothing. */
export function tell(story: Story, event: JobEvent): Story {
  if (event.seq <= story.lastSeq) return story;
  return { ...story, ...change(story, event), lastSeq: event.seq };
}

function change(story: Story, event: JobEvent): Partial<Story> {
  switch (event.kind) {
    case "state": {
      const state = String(event.data.state ?? "");
      return STATES.has(state) ? { state: state as Job["state"] } : {};
    }
    case "progress":
      return { progressNote: event.message, steps: begun(story.steps, event) };
    case "step": {
      const seconds = typeof event.data.seconds === "number" ? event.data.seconds : 0;
      const done = story.steps.filter((step) => step.seconds !== null);
      return { progressNote: "", steps: [...done, { name: event.message, at: event.at, seconds }] };
    }
    case "metric": {
      const figures = { ...story.metrics[event.message], ...event.data };
      return { metrics: { ...story.metrics, [event.message]: figures } };
    }
    default:
      return {};
  }
}

/** The first word after a finished step names the next one; what follows are its notes. */
function begun(steps: StoryStep[], event: JobEvent): StoryStep[] {
  if (steps.at(-1)?.seconds === null) return steps;
  return [...steps, { name: event.message, at: event.at, seconds: null }];
}
