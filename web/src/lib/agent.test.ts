import { expect, test } from "vitest";
import { agentName } from "./agent";

const CHROME =
  "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36";

test.each([
  [CHROME, "Chrome on Linux"],
  [`${CHROME} Edg/140.0`, "Edge on Linux"],
  ["Mozilla/5.0 (Macintosh; Intel Mac OS X 14_0) Version/18 Safari/605.1", "Safari on macOS"],
  ["Mozilla/5.0 (Windows NT 10.0; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox on Windows"],
  ["quantis/0.1 python", "quantis"],
  ["", "Unknown program"],
])("when a program calls itself %j, then people read %s", (agent, name) => {
  expect(agentName(agent)).toBe(name);
});
