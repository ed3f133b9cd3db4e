import type { Job, JobEvent } from "../../api/types";

export interface StoryStep {
  name: string;
  at: string;
  /** Null while it runs. */
  seconds: number | null;
}

export interface Story {
  steps: StoryStep[];
  metrics: { name: string; value: string }[];
  state: Job["state"] | null;
  progressNote: string;
  lastSeq: number;
}

export const NO_STORY: Story = { steps: [], metrics: [], state: null, progressNote: "", lastSeq: 0 };

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
      const rest = story.steps.filter((step) => step.name !== event.message || step.seconds !== null);
      return {
        steps: [
          ...rest.filter(isDone),
          { name: event.message, at: event.at, seconds },
          ...rest.filter(isOpen),
        ],
      };
    }
    case "metric":
      return { metrics: [...story.metrics, ...metricsOf(event)] };
    default:
      return {};
  }
}

const isDone = (step: StoryStep) => step.seconds !== null;
const isOpen = (step: StoryStep) => step.seconds === null;

function begun(steps: StoryStep[], event: JobEvent): StoryStep[] {
  if (steps.some((step) => isOpen(step) && step.name === event.message)) return steps;
  return [...steps.filter(isDone), { name: event.message, at: event.at, seconds: null }];
}

function metricsOf(event: JobEvent): Story["metrics"] {
  const pairs = Object.entries(event.data).filter(([, value]) => typeof value !== "object");
  const prefix = event.message ? `${event.message} ` : "";
  return pairs.map(([name, value]) => ({
    name: `${prefix}${name}`,
    value: typeof value === "number" ? String(Number(value.toPrecision(4))) : String(value),
  }));
}
