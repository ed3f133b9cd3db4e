import { createParser } from "eventsource-parser";

export interface SseMessage {
  id: string | null;
  event: string;
  data: string;
}

/** Read server-sent events from a byte stream, whatever the chunks' borders are. */
export async function* readMessages(body: ReadableStream<Uint8Array>): AsyncGenerator<SseMessage> {
  const complete: SseMessage[] = [];
  const parser = createParser({
    onEvent: ({ id = null, event = "message", data }) => complete.push({ id, event, data }),
  });
  const reader = body.getReader();
  const decoder = new TextDecoder();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      parser.feed(decoder.decode(value, { stream: !done }));
      yield* complete.splice(0);
      if (done) return;
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}

export interface FollowOptions {
  /** Open one connection; the server continues after `lastId`. */
  connect: (lastId: string | null, signal: AbortSignal) => Promise<Response>;
  onMessage: (message: SseMessage) => void;
  onState?: (state: "live" | "waiting") => void;
  /** Called after each end of the stream; true when nothing more will come. */
  isOver: () => boolean | Promise<boolean>;
  signal: AbortSignal;
  waitMs?: number;
}

/** Read a stream to its end; a dropped connection is resumed after the last event. */
export async function follow(options: FollowOptions): Promise<void> {
  const { signal, waitMs = 1000 } = options;
  let lastId: string | null = null;
  for (let attempt = 0; !signal.aborted; attempt += 1) {
    try {
      const response = await options.connect(lastId, signal);
      if (!response.ok || !response.body) throw new Error(`event stream responded ${response.status}`);
      options.onState?.("live");
      for await (const message of readMessages(response.body)) {
        lastId = message.id ?? lastId;
        attempt = 0;
        options.onMessage(message);
      }
    } catch {
      // A dropped connection and a refused one are treated alike: unless the stream is over, try again.
    }
    if (signal.aborted || (await options.isOver())) return;
    options.onState?.("waiting");
    await pause(Math.min(waitMs * 2 ** Math.min(attempt, 4), 15_000), signal);
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    });
  });
}
