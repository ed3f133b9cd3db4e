import { screen, within } from "@testing-library/react";
import { HttpResponse, http } from "msw";
import { beforeEach, expect, test } from "vitest";
import { expectAccessible } from "../../testing/axe";
import { renderPage } from "../../testing/render";
import { at, get, page, problem, server } from "../../testing/server";
import { ADA, signIn } from "../../testing/signed-in";
import { Component } from "./page";

const CHROME = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/140.0.0.0 Safari/537.36";
const seen = (id: string, agent: string, current: boolean) => ({
  id,
  agent,
  current,
  address: "10.0.0.7",
  created_at: "2026-11-20T06:00:00Z",
  used_at: "2026-11-23T06:00:00Z",
  expires_at: "2026-12-07T06:00:00Z",
});
const KEY = {
  id: "k1",
  name: "nightly",
  owner: "ada",
  hint: "qk_abcd",
  scopes: ["read"],
  created_at: "2026-11-20T06:00:00Z",
  expires_at: "2126-11-20T06:00:00Z",
  used_at: null,
  revoked_at: null as string | null,
};
let sessions = [seen("s1", CHROME, true), seen("s2", "quantis/0.1", false)];
let keys = [KEY];

beforeEach(async () => {
  sessions = [seen("s1", CHROME, true), seen("s2", "quantis/0.1", false)];
  keys = [KEY];
  await signIn();
  server.use(
    http.get(at("/v1/users/me/sessions"), () => HttpResponse.json(page(sessions))),
    http.get(at("/v1/api-keys"), () => HttpResponse.json(page(keys))),
  );
});

const open = () => renderPage(Component, "/account", "/account");
const none = () => new HttpResponse(null, { status: 204 });

test("when another session is ended, then it is asked about first and gone after; one's own cannot be", async () => {
  server.use(
    http.delete(at("/v1/users/me/sessions/s2"), () => {
      sessions = sessions.filter((s) => s.id !== "s2");
      return none();
    }),
  );
  const { user } = open();
  const own = await screen.findByRole("row", { name: /Chrome on Linux this one/ });
  expect(within(own).queryByRole("button")).not.toBeInTheDocument();
  await expectAccessible();
  await user.click(screen.getByRole("button", { name: "Sign out quantis at 10.0.0.7" }));
  expect(sessions).toHaveLength(2);
  await user.click(screen.getByRole("button", { name: "Sign out there" }));
  await expect.poll(() => screen.queryByRole("row", { name: /quantis/ })).toBeNull();
  expect(screen.queryByRole("button", { name: "Sign out everywhere else" })).not.toBeInTheDocument();
});

test("when one signs out everywhere else, then only this session is left", async () => {
  server.use(
    http.delete(at("/v1/users/me/sessions"), () => {
      sessions = sessions.filter((s) => s.current);
      return none();
    }),
  );
  const { user } = open();
  await user.click(await screen.findByRole("button", { name: "Sign out everywhere else" }));
  const dialog = screen.getByRole("dialog", { name: "Sign out everywhere else?" });
  await user.click(within(dialog).getByRole("button", { name: "Sign out everywhere else" }));
  await expect.poll(() => screen.queryByRole("row", { name: /quantis/ })).toBeNull();
});

test("when a key is made, then what was chosen is sent and the key is shown once", async () => {
  const requests: unknown[] = [];
  server.use(
    http.post(at("/v1/api-keys"), async ({ request }) => {
      requests.push(await request.json());
      keys = [{ ...KEY, id: "k2", name: "report" }, KEY];
      return HttpResponse.json({ ...keys[0], key: "qk_the-whole-key" }, { status: 201 });
    }),
  );
  const { user } = open();
  await user.click(await screen.findByRole("button", { name: "New key" }));
  const dialog = screen.getByRole("dialog", { name: "New API key" });
  await user.type(within(dialog).getByLabelText("Name"), "report");
  await user.click(within(dialog).getByRole("checkbox", { name: /read/ }));
  await user.click(within(dialog).getByRole("checkbox", { name: /forecast/ }));
  await user.click(within(dialog).getByRole("button", { name: "Create the key" }));
  expect(await within(dialog).findByRole("alert")).toHaveTextContent("Choose at least one");
  expect(requests).toEqual([]);
  await user.click(within(dialog).getByRole("checkbox", { name: /Start and stop jobs/ }));
  await user.selectOptions(within(dialog).getByLabelText("Works for"), "7 days");
  await user.click(within(dialog).getByRole("button", { name: "Create the key" }));
  expect(await within(dialog).findByText("qk_the-whole-key")).toBeInTheDocument();
  expect(within(dialog).getByText(/shown this once/)).toBeInTheDocument();
  expect(within(dialog).getByRole("button", { name: "Copy the key" })).toBeInTheDocument();
  expect(requests).toEqual([{ name: "report", scopes: ["jobs"], expires_in: "P7D" }]);
  await user.click(within(dialog).getByRole("button", { name: "I have kept it" }));
  expect(screen.queryByText("qk_the-whole-key")).not.toBeInTheDocument();
  expect(await screen.findByRole("row", { name: /report/ })).toBeInTheDocument();
  await user.click(screen.getByRole("button", { name: "New key" }));
  expect(screen.queryByText("qk_the-whole-key")).not.toBeInTheDocument();
});

test("when a key is revoked, then it stays in the list as revoked", async () => {
  server.use(
    http.delete(at("/v1/api-keys/k1"), () => {
      keys = [{ ...KEY, revoked_at: "2026-11-23T07:00:00Z" }];
      return HttpResponse.json(keys[0]);
    }),
  );
  const { user } = open();
  await user.click(await screen.findByRole("button", { name: "Revoke nightly" }));
  await user.click(screen.getByRole("button", { name: "Revoke the key" }));
  expect(await screen.findByRole("row", { name: /nightly.*Revoked/ })).toBeInTheDocument();
  expect(screen.queryByRole("button", { name: "Revoke nightly" })).not.toBeInTheDocument();
});

test("when a second factor is turned on, then the secret is shown and a first code of it is sent", async () => {
  const codes: unknown[] = [];
  const uri = "otpauth://totp/quantis:ada?secret=ABCDEFGH";
  server.use(
    http.post(at("/v1/users/me/second-factor"), () =>
      HttpResponse.json({ secret: "ABCDEFGH", uri }, { status: 201 }),
    ),
    http.put(at("/v1/users/me/second-factor"), async ({ request }) => {
      codes.push(await request.json());
      if (codes.length === 1) return problem(422, "Invalid input", "that is not the code of now");
      server.use(get("/v1/users/me", { ...ADA, second_factor: true }));
      return none();
    }),
  );
  const { user } = open();
  await user.click(await screen.findByRole("button", { name: "Turn it on" }));
  await user.click(screen.getByRole("button", { name: "Show the secret" }));
  expect(await screen.findByText("ABCD EFGH")).toBeInTheDocument();
  expect(screen.getByRole("link", { name: /authenticator app/ })).toHaveAttribute("href", uri);
  const dialog = screen.getByRole("dialog", { name: "Turn the second factor on" });
  await user.type(within(dialog).getByLabelText("Code"), "111111");
  await user.click(within(dialog).getByRole("button", { name: "Turn it on" }));
  expect(await within(dialog).findByRole("alert")).toHaveTextContent("not the code of now");
  await user.clear(within(dialog).getByLabelText("Code"));
  await user.type(within(dialog).getByLabelText("Code"), "222 222{Enter}");
  expect(await screen.findByRole("button", { name: "Turn it off" })).toBeInTheDocument();
  expect(codes).toEqual([{ code: "111111" }, { code: "222222" }]);
});

test("when the sessions cannot be read, then the problem is shown and can be tried again", async () => {
  server.use(http.get(at("/v1/users/me/sessions"), () => problem(503, "Unavailable", "the database rests")));
  const { user } = open();
  expect(await screen.findByRole("alert")).toHaveTextContent("the database rests");
  server.use(get("/v1/users/me/sessions", page(sessions)));
  await user.click(screen.getByRole("button", { name: "Try again" }));
  expect(await screen.findByRole("row", { name: /Chrome on Linux/ })).toBeInTheDocument();
});
