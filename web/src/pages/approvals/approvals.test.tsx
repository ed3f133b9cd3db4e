import { screen, within } from "@testing-library/react";
import { HttpResponse, http } from "msw";
import { beforeEach, expect, test } from "vitest";
import { expectAccessible } from "../../testing/axe";
import { renderPage } from "../../testing/render";
import { at, page, problem, server } from "../../testing/server";
import { signIn } from "../../testing/signed-in";
import { Component } from "./list";

const request = (id: string, by: string, change: object) => ({
  id,
  model: "demand",
  change,
  state: "pending",
  requested_at: "2026-11-23T06:00:00Z",
  requested_by: by,
  decided_at: null,
  decided_by: null,
});
const OWN = request("a1", "ada", { kind: "policy", policy: "gate" });
const OTHER = request("a2", "grace", { kind: "alias", alias: "champion", version: 3, instead_of: 2 });
let waiting = [OWN, OTHER];
let requests: (string | null)[] = [];

beforeEach(() => {
  waiting = [OWN, OTHER];
  requests = [];
  server.use(
    http.get(at("/v1/approvals"), ({ request }) => {
      const state = new URL(request.url).searchParams.get("state");
      requests.push(state);
      return HttpResponse.json(page(state === "pending" ? waiting : []));
    }),
  );
});

const open = () => renderPage(Component, "/approvals", "/approvals");

test("when somebody else asked, then one may approve; one's own request can only be withdrawn", async () => {
  await signIn({ role: "ml_engineer" });
  server.use(
    http.post(at("/v1/approvals/a2/approve"), () => {
      waiting = [OWN];
      return HttpResponse.json({ ...OTHER, state: "approved" });
    }),
  );
  const { user } = open();
  const own = await screen.findByRole("row", { name: /let the gate decide alone you/ });
  expect(within(own).queryByRole("button", { name: /Approve/ })).not.toBeInTheDocument();
  expect(within(own).getByRole("button", { name: /Withdraw/ })).toBeInTheDocument();
  expect(own).toHaveTextContent("Another person must approve it.");
  await expectAccessible();
  const other = screen.getByRole("row", { name: /version 3 as champion, instead of 2/ });
  await user.click(within(other).getByRole("button", { name: /Approve/ }));
  await user.click(screen.getByRole("button", { name: "Approve it" }));
  await expect.poll(() => screen.queryByRole("row", { name: /version 3/ })).toBeNull();
});

test("when the two versions were compared, then the request says by how much they differ", async () => {
  await signIn({ role: "ml_engineer" });
  const head_to_head = { reason: "v3 has 2.4 times the error of v2" };
  waiting = [
    request("a4", "grace", { kind: "alias", alias: "champion", version: 3, instead_of: 2, head_to_head }),
  ];
  open();
  await screen.findByRole("row", {
    name: /version 3 as champion, instead of 2 v3 has 2\.4 times the error of v2/,
  });
});

test("when a change of traffic is asked for, then the list says who would get how much", async () => {
  await signIn({ role: "ml_engineer" });
  const shares = [{ version: 4, percent: 10 }];
  waiting = [request("a3", "grace", { kind: "traffic", traffic: { shares }, instead_of: { shares: [] } })];
  open();
  await screen.findByRole("row", { name: /10 % to version 4, the rest to the champion/ });
});

test("when the gate stands in the way, then the reason is shown and the request waits on", async () => {
  await signIn({ role: "ml_engineer" });
  server.use(
    http.post(at("/v1/approvals/a2/approve"), () => problem(409, "Conflict", "it did not pass the gate")),
  );
  const { user } = open();
  await user.click(await screen.findByRole("button", { name: /^Approve demand/ }));
  await user.click(screen.getByRole("button", { name: "Approve it" }));
  expect(await screen.findByRole("alert")).toHaveTextContent("it did not pass the gate");
  expect(screen.getByRole("row", { name: /version 3/ })).toBeInTheDocument();
});

test("when a viewer looks, then there is nothing to press; other states are asked for by name", async () => {
  await signIn({ role: "viewer" });
  const { user } = open();
  const row = await screen.findByRole("row", { name: /version 3/ });
  expect(within(row).queryByRole("button")).not.toBeInTheDocument();
  await user.click(screen.getByRole("radio", { name: "Refused" }));
  expect(await screen.findByText("No such request")).toBeInTheDocument();
  await user.click(screen.getByRole("radio", { name: "All" }));
  await expect.poll(() => requests).toEqual(["pending", "refused", null]);
});
