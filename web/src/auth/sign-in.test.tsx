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

test("when a second factor is on, then its code is asked for and sent with the password", async () => {
  const sent: (string | null)[] = [];
  server.use(
    get("/v1/setup", { open: false, oidc: false }),
    http.post(at("/v1/oauth/token"), async ({ request }) => {
      const form = new URLSearchParams(await request.text());
      sent.push(form.get("otp"));
      if (form.get("otp") === null) {
        return problem(401, "A second factor is needed", "send otp", { code: "second_factor_required" });
      }
      if (form.get("otp") !== "123456") return problem(401, "Not signed in", "the code is wrong");
      return HttpResponse.json({ access_token: "t", expires_in: 900 });
    }),
  );
  const { user } = renderPage(Gate, "/", "/");
  await user.type(await screen.findByLabelText("User name"), "ada");
  await user.type(screen.getByLabelText("Password"), "correct horse{Enter}");
  const code = await screen.findByLabelText("Code");
  expect(code).toHaveFocus();
  expect(screen.queryByRole("alert")).not.toBeInTheDocument();
  expect(screen.queryByRole("link", { name: /organisation/ })).not.toBeInTheDocument();
  await user.type(code, "000000{Enter}");
  expect(await screen.findByRole("alert")).toHaveTextContent("the code is wrong");
  await user.clear(code);
  await user.type(code, "123 456{Enter}");
  await expect.poll(() => sent).toEqual([null, "000000", "123456"]);
});

test("when there were too many attempts, then it says how long to wait; an identity provider is offered", async () => {
  server.use(
    get("/v1/setup", { open: false, oidc: true }),
    http.post(at("/v1/oauth/token"), () =>
      HttpResponse.json(
        { title: "Too many requests", detail: "too many wrong sign-ins", code: "too_many_requests" },
        { status: 429, headers: { "Retry-After": "215" } },
      ),
    ),
  );
  const { user } = renderPage(Gate, "/", "/");
  await user.type(await screen.findByLabelText("User name"), "ada");
  await user.type(screen.getByLabelText("Password"), "correct horse{Enter}");
  expect(await screen.findByRole("alert")).toHaveTextContent("Wait about 4 minutes, then try again");
  expect(screen.getByRole("link", { name: "Sign in with your organisation" })).toHaveAttribute(
    "href",
    "/v1/oauth/oidc/start",
  );
});
