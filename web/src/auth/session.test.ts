import { HttpResponse, http } from "msw";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { at, problem, server } from "../testing/server";
import { Session } from "./session";

/** Server whose tokens are t1, t2, ...; only the newest is valid. */
function tokens({ lifetime = 900 } = {}) {
  const seen = { grants: [] as string[], calls: [] as string[], bodies: [] as string[] };
  let newest = 0;
  server.use(
    http.post(at("/v1/oauth/token"), async ({ request }) => {
      const form = new URLSearchParams(await request.text());
      seen.grants.push(`${form.get("grant_type")} ${form.get("client_id")}`);
      await new Promise((resolve) => setTimeout(resolve, 5));
      newest += 1;
      return HttpResponse.json({ access_token: `t${newest}`, token_type: "bearer", expires_in: lifetime });
    }),
    http.all(at("/v1/thing"), async ({ request }) => {
      const bearer = request.headers.get("Authorization") ?? "none";
      seen.calls.push(bearer);
      seen.bodies.push(await request.text());
      if (bearer !== `Bearer t${newest}`) return problem(401, "Not signed in", "the token has expired");
      return HttpResponse.json({ ok: true });
    }),
  );
  return { seen, expire: () => (newest += 1) };
}

describe("a session", () => {
  beforeEach(() => vi.useFakeTimers({ toFake: ["Date"] }));
  afterEach(() => vi.useRealTimers());

  test("when many requests meet a 401 at once, then one refresh serves them all", async () => {
    const { seen, expire } = tokens();
    const session = new Session();
    await session.signIn("ada", "correct horse");
    expire();
    const answers = await Promise.all([1, 2, 3, 4].map(() => session.fetch(at("/v1/thing"))));
    expect(answers.map((answer) => answer.status)).toEqual([200, 200, 200, 200]);
    expect(seen.grants).toEqual(["password web", "refresh_token web"]);
  });

  test("when a request is repeated after a refresh, then its body is sent again", async () => {
    const { seen, expire } = tokens();
    const session = new Session();
    await session.signIn("ada", "correct horse");
    expire();
    const answer = await session.fetch(at("/v1/thing"), { method: "POST", body: "once more" });
    expect(answer.status).toBe(200);
    expect(seen.bodies).toEqual(["once more", "once more"]);
  });

  test("when the token is about to expire, then it is renewed before it is used", async () => {
    const { seen } = tokens({ lifetime: 300 });
    const session = new Session();
    await session.signIn("ada", "correct horse");
    vi.setSystemTime(Date.now() + 290_000);
    await session.fetch(at("/v1/thing"));
    expect(seen.calls).toEqual(["Bearer t2"]);
  });

  test("when the refresh token is refused, then the session ends and the 401 is given on", async () => {
    const { expire } = tokens();
    const session = new Session();
    await session.signIn("ada", "correct horse");
    expire();
    server.use(http.post(at("/v1/oauth/token"), () => problem(401, "Not signed in", "used twice")));
    expect((await session.fetch(at("/v1/thing"))).status).toBe(401);
    expect(session.status).toBe("out");
  });

  test("when the server fails during a refresh, then the session is not ended", async () => {
    tokens();
    const session = new Session();
    await session.signIn("ada", "correct horse");
    server.use(http.post(at("/v1/oauth/token"), () => problem(503, "Unavailable", "restarting")));
    await expect(session.refresh()).rejects.toThrow("restarting");
    expect(session.status).toBe("in");
  });

  test("when nobody was signed in, then resuming ends signed out", async () => {
    server.use(http.post(at("/v1/oauth/token"), () => problem(401, "Not signed in", "no cookie")));
    const session = new Session();
    expect(session.status).toBe("starting");
    session.resume();
    await vi.waitFor(() => expect(session.status).toBe("out"));
  });

  test("when somebody signs in and out, then no script-readable store ever holds a token", async () => {
    tokens();
    server.use(http.post(at("/v1/oauth/revoke"), () => new HttpResponse(null, { status: 204 })));
    const session = new Session();
    await session.signIn("ada", "correct horse");
    expect([localStorage.length, sessionStorage.length, document.cookie]).toEqual([0, 0, ""]);
    await session.signOut();
    expect(session.status).toBe("out");
  });

  test("when the password is wrong, then the server's message is thrown", async () => {
    server.use(http.post(at("/v1/oauth/token"), () => problem(401, "Not signed in", "wrong password")));
    await expect(new Session().signIn("ada", "nope")).rejects.toMatchObject({
      message: "wrong password",
      requestId: "req-1",
    });
  });
});
