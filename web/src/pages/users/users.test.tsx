import { screen, within } from "@testing-library/react";
import { HttpResponse, http } from "msw";
import { beforeEach, expect, test } from "vitest";
import { expectAccessible } from "../../testing/axe";
import { renderPage } from "../../testing/render";
import { at, page, problem, server } from "../../testing/server";
import { ADA, signIn } from "../../testing/signed-in";
import { Component } from "./list";

const GRACE = { ...ADA, id: "u2", user_name: "grace", role: "viewer", second_factor: true };
let grace = GRACE;
let requests: unknown[] = [];

beforeEach(async () => {
  grace = GRACE;
  requests = [];
  await signIn();
  server.use(
    http.get(at("/v1/users"), () => HttpResponse.json(page([ADA, grace]))),
    http.patch(at("/v1/users/u2"), async ({ request }) => {
      const change = (await request.json()) as object;
      requests.push(change);
      grace = { ...grace, ...change };
      return HttpResponse.json(grace);
    }),
  );
});

const open = () => renderPage(Component, "/users", "/users");

test("when a user's role is changed and the account disabled, then so it stands; one's own row offers neither", async () => {
  const { user } = open();
  await user.selectOptions(await screen.findByLabelText("Role of grace"), "Analyst");
  await expect.poll(() => requests).toEqual([{ role: "analyst" }]);
  await expect.poll(() => screen.getByLabelText("Role of grace")).toBeEnabled();
  await user.click(screen.getByRole("button", { name: "Disable grace" }));
  await user.click(screen.getByRole("button", { name: "Disable the account" }));
  expect(await screen.findByRole("button", { name: "Enable grace" })).toBeInTheDocument();
  expect(requests.at(-1)).toEqual({ disabled: true });
  const own = screen.getByRole("row", { name: /ada \(you\)/ });
  expect(within(own).getByRole("combobox")).toBeDisabled();
  expect(within(own).queryByRole("button")).not.toBeInTheDocument();
  await expectAccessible();
});

test("when a second factor is lost, then an admin takes it away", async () => {
  const { user } = open();
  await user.click(await screen.findByRole("button", { name: "Remove the code of grace" }));
  await user.click(screen.getByRole("button", { name: "Remove it" }));
  await expect.poll(() => requests).toEqual([{ second_factor: false }]);
  await expect.poll(() => screen.queryByRole("button", { name: /Remove the code/ })).toBeNull();
});

test("when a name is taken, then adding says so and the form stays", async () => {
  server.use(http.post(at("/v1/users"), () => problem(409, "Conflict", "there is a user 'grace' already")));
  const { user } = open();
  await user.click(await screen.findByRole("button", { name: "Add a user" }));
  const form = screen.getByRole("dialog", { name: "Add a user" });
  await user.type(within(form).getByLabelText("User name"), "grace");
  await user.type(within(form).getByLabelText("First password"), "correct horse battery");
  await user.click(within(form).getByRole("button", { name: "Add the user" }));
  expect(await within(form).findByRole("alert")).toHaveTextContent("there is a user 'grace' already");
  expect(within(form).getByLabelText("User name")).toHaveValue("grace");
});
