import { screen, within } from "@testing-library/react";
import { HttpResponse, http } from "msw";
import { beforeEach, expect, test } from "vitest";
import { expectAccessible } from "../../testing/axe";
import { renderPage } from "../../testing/render";
import { at, page, server } from "../../testing/server";
import { signIn } from "../../testing/signed-in";
import { Component } from "./page";

const SYNC = {
  id: "c1-0000-1111",
  name: "sync",
  role: "analyst",
  scopes: ["data", "read"],
  disabled: false,
  created_at: "2026-11-20T06:00:00Z",
  created_by: "ada",
};
const KEY = {
  id: "k1",
  name: "nightly",
  owner: "grace",
  hint: "qk_abcd",
  scopes: ["read"],
  created_at: "2026-11-20T06:00:00Z",
  expires_at: "2026-11-21T06:00:00Z",
  used_at: null,
  revoked_at: null,
};
let accounts: object[] = [SYNC];

beforeEach(async () => {
  accounts = [SYNC];
  await signIn();
  server.use(
    http.get(at("/v1/clients"), () => HttpResponse.json(page(accounts))),
    http.get(at("/v1/api-keys"), ({ request }) =>
      HttpResponse.json(page(request.url.endsWith("?of=team") ? [KEY] : [])),
    ),
  );
});

const open = () => renderPage(Component, "/service-accounts", "/service-accounts");

test("when an admin looks, then accounts and everybody's keys are there, with what they may do", async () => {
  open();
  const row = await screen.findByRole("row", { name: /sync/ });
  expect(row).toHaveTextContent("Analyst");
  expect(row).toHaveTextContent("readdata");
  expect(
    await screen.findByRole("row", { name: /nightly grace qk_abcd… read never Ended/ }),
  ).toBeInTheDocument();
  await expectAccessible();
});

test("when an account is created, then its secret is shown once", async () => {
  const requests: unknown[] = [];
  server.use(
    http.post(at("/v1/clients"), async ({ request }) => {
      requests.push(await request.json());
      return HttpResponse.json({ ...SYNC, name: "etl", client_secret: "qs_secret" }, { status: 201 });
    }),
  );
  const { user } = open();
  await user.click(await screen.findByRole("button", { name: "New service account" }));
  const form = screen.getByRole("dialog", { name: "New service account" });
  await user.type(within(form).getByLabelText("Name"), "etl");
  await user.selectOptions(within(form).getByLabelText("Role"), "Analyst");
  await user.click(within(form).getByRole("button", { name: "Create the account" }));
  expect(await screen.findByText("qs_secret")).toBeInTheDocument();
  expect(requests).toEqual([{ name: "etl", role: "analyst", scopes: ["read", "forecast"] }]);
  await user.click(screen.getByRole("button", { name: "I have kept it" }));
  expect(screen.queryByText("qs_secret")).not.toBeInTheDocument();
});

test("when an account is disabled or deleted, then that alone is asked for", async () => {
  const requests: unknown[] = [];
  server.use(
    http.patch(at("/v1/clients/c1-0000-1111"), async ({ request }) => {
      requests.push(await request.json());
      accounts = [{ ...SYNC, disabled: true }];
      return HttpResponse.json(accounts[0]);
    }),
    http.delete(at("/v1/clients/c1-0000-1111"), () => {
      accounts = [];
      return new HttpResponse(null, { status: 204 });
    }),
  );
  const { user } = open();
  await user.click(await screen.findByRole("button", { name: "Change sync" }));
  await user.click(screen.getByRole("checkbox", { name: /Disabled/ }));
  await user.click(screen.getByRole("button", { name: "Save" }));
  expect(await screen.findByRole("row", { name: /sync.*Disabled/ })).toBeInTheDocument();
  expect(requests).toEqual([{ role: "analyst", scopes: ["read", "data"], disabled: true }]);
  await user.click(screen.getByRole("button", { name: "Delete sync" }));
  await user.click(screen.getByRole("button", { name: "Delete the account" }));
  expect(await screen.findByText("No service account yet")).toBeInTheDocument();
});

test("when a new secret is asked for, then it is shown after the warning", async () => {
  server.use(
    http.post(at("/v1/clients/c1-0000-1111/secret"), () =>
      HttpResponse.json({ ...SYNC, client_secret: "qs_new" }),
    ),
  );
  const { user } = open();
  await user.click(await screen.findByRole("button", { name: "New secret for sync" }));
  expect(screen.getByText(/stops working at once/)).toBeInTheDocument();
  await user.click(screen.getByRole("button", { name: "Make a new secret" }));
  expect(await screen.findByText("qs_new")).toBeInTheDocument();
});
