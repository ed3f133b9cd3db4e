export interface SseMessage {
  id: string | null;
  event: string;
  data: string;
}

/** Server-sent events from a byte stream, whatever the chunks' borders are. */
export async function* messagesOf(body: ReadableStream<Uint8Array>): AsyncGenerator<SseMessage> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  const parse = lineParser();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      rest += decoder.decode(value, { stream: !done });
      // A lone CR at the end may be half of a CRLF: it waits for the next chunk.
      const lines = rest.split(/\r\n|\n|\r(?!$)/);
      rest = lines.pop() ?? "";
      for (const line of lines) {
        const message = parse(line);
        if (message) yield message;
      }
      if (done) return;
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}

/** Collects lines; gives a message at each blank line that follows data. */
function lineParser(): (line: string) => SseMessage | null {
  let id: string | null = null;
  let event = "";
  let data: string[] = [];
  return (line) => {
    if (line === "") {
      const message = data.length ? { id, event: event || "message", data: data.join("\n") } : null;
      event = "";
      data = [];
      return message;
    }
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "data") data.push(value);
    else if (field === "event") event = value;
    else if (field === "id") id = value;
    return null;
  };
}

export interface FollowOptions {
  /** One connection; `lastId` is what the server shall continue after. */
  connect: (lastId: string | null, signal: AbortSignal) => Promise<Response>;
  onMessage: (message: SseMessage) => void;
  onState?: (state: "live" | "waiting") => void;
  /** Asked after each end of the stream: is there nothing more to come? */
  isOver: () => boolean | Promise<boolean>;
  signal: AbortSignal;
  waitMs?: number;
}

/** Reads a stream to its end; a dropped connection is taken up again after the last event seen. */
export async function follow(options: FollowOptions): Promise<void> {
  const { signal, waitMs = 1000 } = options;
  let lastId: string | null = null;
  for (let attempt = 0; !signal.aborted; attempt += 1) {
    try {
      const answer = await options.connect(lastId, signal);
      if (!answer.ok || !answer.body) throw new Error(`event stream answered ${answer.status}`);
      options.onState?.("live");
      for await (const message of messagesOf(answer.body)) {
        lastId = message.id ?? lastId;
        attempt = 0;
        options.onMessage(message);
      }
    } catch {
      // A dropped line and a refused connection are one thing here: ask whether there is more, and try again.
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
