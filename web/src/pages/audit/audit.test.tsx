import { screen, within } from "@testing-library/react";
import { HttpResponse, http } from "msw";
import { beforeEach, expect, test } from "vitest";
import { expectAccessible } from "../../testing/axe";
import { renderPage } from "../../testing/render";
import { at, get, page, server } from "../../testing/server";
import { signIn } from "../../testing/signed-in";
import { Component } from "./page";

const event = (seq: number, action: string, more: object = {}) => ({
  seq,
  id: `e${seq}`,
  at: "2026-11-23T06:00:09Z",
  team: "default",
  actor_kind: "user",
  actor_id: "u1",
  actor: "ada",
  action,
  object: "/v1/api-keys",
  status: 201,
  outcome: "done",
  request_id: `request-${seq}`,
  address: "10.0.0.7",
  detail: {},
  previous: "00",
  hash: "abcdef0123456789ff",
  ...more,
});

let requests: URLSearchParams[] = [];

beforeEach(async () => {
  requests = [];
  await signIn();
  server.use(
    http.get(at("/v1/audit-events"), ({ request }) => {
      const query = new URL(request.url).searchParams;
      requests.push(query);
      if (query.get("actor") === "nobody") return HttpResponse.json(page([]));
      if (query.get("cursor")) return HttpResponse.json(page([event(1, "POST /v1/new-route")]));
      const made = event(2, "POST /v1/api-keys", { detail: { name: "nightly", scopes: ["read", "jobs"] } });
      return HttpResponse.json({ items: [made], next_cursor: "c1" });
    }),
  );
});

const open = (address = "/audit") => renderPage(Component, "/audit", address);

test("when the trail is shown, then it shows who, what, how it ended and the request, and older events on demand", async () => {
  const { user } = open();
  const row = await screen.findByRole("row", { name: /Create an API key/ });
  expect(row).toHaveTextContent("06:00:09");
  expect(row).toHaveTextContent("ada");
  expect(row).toHaveTextContent("/v1/api-keys");
  expect(row).toHaveTextContent("done");
  expect(within(row).getByRole("button", { name: "Copy the request id request-2" })).toBeInTheDocument();
  expect(row).toHaveTextContent("read, jobs");
  await expectAccessible();
  await user.click(screen.getByRole("button", { name: "Show older events" }));
  expect(await screen.findByRole("row", { name: /POST \/v1\/new-route/ })).toBeInTheDocument();
  expect(requests.at(-1)?.get("cursor")).toBe("c1");
  expect(screen.queryByRole("button", { name: "Show older events" })).not.toBeInTheDocument();
});

test("when filters are set, then they are asked for and stand in the address", async () => {
  const { user, router } = open("/audit?since=2026-11-01T00:00");
  await screen.findByRole("row", { name: /Create an API key/ });
  expect(requests[0]?.get("since")).toBe("2026-11-01T00:00:00Z");
  await user.selectOptions(screen.getByLabelText("Outcome"), "refused");
  await user.type(screen.getByLabelText("Who"), "nobody");
  expect(await screen.findByText("Nothing fits these filters")).toBeInTheDocument();
  expect(Object.fromEntries(requests.at(-1) ?? [])).toEqual({
    actor: "nobody",
    outcome: "refused",
    since: "2026-11-01T00:00:00Z",
  });
  expect(router.state.location.search).toContain("actor=nobody");
  await user.click(screen.getByRole("button", { name: "Clear" }));
  expect(await screen.findByRole("row", { name: /Create an API key/ })).toBeInTheDocument();
  expect(screen.getByLabelText("Who")).toHaveValue("");
});

test("when an event was altered, then the check of the chain names it", async () => {
  const bad = { intact: false, events: 9, head: "aa", first_altered: 4, reason: "its hash does not fit" };
  server.use(get("/v1/audit-events/verdict", bad));
  const { user } = open();
  await user.click(await screen.findByRole("button", { name: "Check the chain" }));
  expect(await screen.findByRole("alert")).toHaveTextContent("Altered at event 4its hash does not fit");
});

test("when an admin is of another team, then the whole chain is not theirs to check", async () => {
  await signIn({ team: "retail" });
  open();
  await screen.findByRole("row", { name: /Create an API key/ });
  expect(screen.queryByRole("button", { name: "Check the chain" })).not.toBeInTheDocument();
});
