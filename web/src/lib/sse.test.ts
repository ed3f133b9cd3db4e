import { describe, expect, test } from "vitest";
import { follow, readMessages, type SseMessage } from "./sse";

const bytes = (text: string) => new TextEncoder().encode(text);

function streamOf(chunks: Uint8Array[]): ReadableStream<Uint8Array> {
  return new ReadableStream({
    start(controller) {
      for (const chunk of chunks) controller.enqueue(chunk);
      controller.close();
    },
  });
}

async function read(chunks: Uint8Array[]): Promise<SseMessage[]> {
  const messages: SseMessage[] = [];
  for await (const message of readMessages(streamOf(chunks))) messages.push(message);
  return messages;
}

const TEXT =
  'id: 7\r\nevent: step\r\ndata: {"message": "größer"}\r\n\r\n: ping\n\nid: 8\ndata: a\ndata: b\n\n';
const MESSAGES = [
  { id: "7", event: "step", data: '{"message": "größer"}' },
  { id: "8", event: "message", data: "a\nb" },
];

describe("server-sent events", () => {
  test("when a stream is cut anywhere, even within a letter or a line break, then the events are the same", async () => {
    const whole = bytes(TEXT);
    for (let cut = 0; cut <= whole.length; cut += 1) {
      expect(await read([whole.slice(0, cut), whole.slice(cut)])).toEqual(MESSAGES);
    }
    expect(await read([...whole].map((byte) => Uint8Array.of(byte)))).toEqual(MESSAGES);
  });

  test("when the last event lacks its blank line, then it is not reported", async () => {
    expect(await read([bytes("data: whole\n\ndata: half\n")])).toHaveLength(1);
  });
});

describe("following a stream", () => {
  test("when the connection drops, then it is resumed after the last event", async () => {
    const requested: (string | null)[] = [];
    const received: string[] = [];
    const states: string[] = [];
    const responses = [
      () => new Response(streamOf([bytes("id: 1\ndata: one\n\nid: 2\ndata: two\n\nid: 3\nda")])),
      () => {
        throw new TypeError("network");
      },
      () => new Response(null, { status: 502 }),
      () => new Response(streamOf([bytes("id: 3\ndata: three\n\n")])),
    ];
    await follow({
      connect: async (lastId) => {
        requested.push(lastId);
        const response = responses[requested.length - 1];
        if (!response) throw new Error("requested too often");
        return response();
      },
      onMessage: (message) => received.push(message.data),
      onState: (state) => states.push(state),
      isOver: () => received.includes("three"),
      signal: new AbortController().signal,
      waitMs: 1,
    });
    expect(received).toEqual(["one", "two", "three"]);
    expect(requested).toEqual([null, "2", "2", "2"]);
    expect(states).toEqual(["live", "waiting", "waiting", "waiting", "live"]);
  });

  test("when the page is left, then nothing is requested any more", async () => {
    const stop = new AbortController();
    let requested = 0;
    await follow({
      connect: async () => {
        requested += 1;
        stop.abort();
        throw new DOMException("aborted", "AbortError");
      },
      onMessage: () => undefined,
      isOver: () => false,
      signal: stop.signal,
    });
    expect(requested).toBe(1);
  });
});
