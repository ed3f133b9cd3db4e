import { HttpResponse, http } from "msw";
import type { User } from "../api/types";
import { session } from "../auth/session";
import { at, get, server } from "./server";

export const ADA: User = {
  id: "u1",
  user_name: "ada",
  role: "admin",
  team: "default",
  disabled: false,
  created_at: "2026-11-01T06:00:00Z",
  second_factor: false,
  external: false,
};

/** Sign ada in, with another role or team where given. */
export async function signIn(as: Partial<User> = {}): Promise<void> {
  server.use(
    http.post(at("/v1/oauth/token"), () => HttpResponse.json({ access_token: "t", expires_in: 900 })),
    get("/v1/users/me", { ...ADA, ...as }),
  );
  await session.signIn("ada", "correct horse");
}
