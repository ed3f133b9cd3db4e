import { screen } from "@testing-library/react";
import { HttpResponse, http } from "msw";
import { expect, test } from "vitest";
import { renderPage } from "../testing/render";
import { at, get, problem, server } from "../testing/server";
import { session } from "./session";
import { Gate } from "./sign-in";

test("when the password is wrong, then the reason is shown; when it is right, then the session begins", async () => {
  server.use(
    get("/v1/setup", { open: false }),
    http.post(at("/v1/oauth/token"), async ({ request }) => {
      const form = new URLSearchParams(await request.text());
      if (form.get("password") !== "correct horse")
        return problem(401, "Not signed in", "the password is wrong");
      return HttpResponse.json({ access_token: "t", expires_in: 900 });
    }),
  );
  const { user } = renderPage(Gate, "/", "/");
  await user.type(await screen.findByLabelText("User name"), "ada");
  await user.type(screen.getByLabelText("Password"), "wrong");
  await user.click(screen.getByRole("button", { name: "Sign in" }));
  expect(await screen.findByRole("alert")).toHaveTextContent("the password is wrong");
  await user.clear(screen.getByLabelText("Password"));
  await user.type(screen.getByLabelText("Password"), "correct horse{Enter}");
  await expect.poll(() => session.status).toBe("in");
});

test("when no account exists, then the first admin is made with the one-time secret", async () => {
  const made: unknown[] = [];
  server.use(
    get("/v1/setup", { open: true }),
    http.post(at("/v1/setup"), async ({ request }) => {
      made.push(await request.json());
      return HttpResponse.json({ id: "u1" }, { status: 201 });
    }),
    http.post(at("/v1/oauth/token"), () => HttpResponse.json({ access_token: "t", expires_in: 900 })),
  );
  const { user } = renderPage(Gate, "/", "/");
  expect(await screen.findByRole("heading", { name: "Create the first admin" })).toBeInTheDocument();
  await user.type(screen.getByLabelText("One-time secret"), " s3cret ");
  await user.type(screen.getByLabelText("User name"), "root");
  await user.type(screen.getByLabelText("Password"), "a long password");
  await user.click(screen.getByRole("button", { name: "Create and sign in" }));
  await expect
    .poll(() => made)
    .toEqual([{ secret: "s3cret", user_name: "root", password: "a long password" }]);
});
