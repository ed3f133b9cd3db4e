import { problemOf } from "../api/problem";

export type SessionStatus = "starting" | "in" | "out";

interface Token {
  access_token: string;
  expires_in: number;
}

/** A request for the password, open until it is given or refused. */
interface Question {
  answer: Promise<boolean>;
  resolve: (given: boolean) => void;
}

const REAUTHENTICATION_PATH = "/v1/users/me/reauthentication";
const EARLY_SECONDS = 60;
const LOCK = "quantis-refresh";

/**
 * Session of the user. The access token lives in this object only; the refresh token is an
 * HttpOnly cookie that scripts cannot read.
 */
export class Session {
  #token: string | null = null;
  #expiresAt = 0;
  #status: SessionStatus = "starting";
  #refreshing: Promise<boolean> | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #listeners = new Set<() => void>();
  #reauthentication: string | null = null;
  #question: Question | null = null;

  get status(): SessionStatus {
    return this.#status;
  }

  /** True while a request waits for the password to be given again. */
  get asksForPassword(): boolean {
    return this.#question !== null;
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  /** Resume the session that the cookie still holds, if any. */
  resume(): void {
    this.refresh().catch(() => this.#drop());
  }

  /** Sign in by password, with the code of the second factor where there is one. */
  async signIn(userName: string, password: string, code?: string): Promise<void> {
    const response = await post("/v1/oauth/token", {
      grant_type: "password",
      client_id: "web",
      username: userName,
      password,
      ...(code && { otp: code }),
    });
    if (!response.ok) throw problemOf(await bodyOf(response), response);
    this.#store((await response.json()) as Token);
  }

  /** Give the password again; the request that waits for it goes on. Without one after a sign-in elsewhere. */
  async reauthenticate(password?: string, code?: string): Promise<void> {
    const response = await this.#send(
      new Request(new URL(REAUTHENTICATION_PATH, location.origin), {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ ...(password && { password }), ...(code && { otp: code }) }),
      }),
    );
    if (!response.ok) throw problemOf(await bodyOf(response), response);
    this.#reauthentication = ((await response.json()) as { token: string }).token;
    this.#answer(true);
  }

  /** Let the request that waits be refused. */
  cancelReauthentication(): void {
    this.#answer(false);
  }

  async signOut(): Promise<void> {
    await post("/v1/oauth/revoke", { client_id: "web" }).catch(() => undefined);
    this.#drop();
  }

  /** Get a new access token by the cookie; callers at the same time share one request. */
  readonly refresh = (): Promise<boolean> => {
    this.#refreshing ??= this.#refreshOnce().finally(() => {
      this.#refreshing = null;
    });
    return this.#refreshing;
  };

  /** Fetch with the bearer token; where the password is needed again, ask for it and repeat the request. */
  readonly fetch = async (input: RequestInfo | URL, init?: RequestInit): Promise<Response> => {
    const request = new Request(input, init);
    const repetition = request.clone();
    const response = await this.#send(request);
    if (response.status !== 403 || (await codeOf(response)) !== "reauthentication_required") return response;
    return (await this.#ask()) ? this.#send(repetition) : response;
  };

  /** A 401 leads to one refresh and one repetition. */
  async #send(request: Request): Promise<Response> {
    if (this.#token && Date.now() > this.#expiresAt) await this.refresh();
    const repetition = request.clone();
    const response = await fetch(this.#authorised(request));
    if (response.status !== 401 || this.#status === "out") return response;
    if ((await codeOf(response)) === "second_factor_required") return response;
    return (await this.refresh()) ? fetch(this.#authorised(repetition)) : response;
  }

  /** Requests that ask at the same time share one answer. */
  #ask(): Promise<boolean> {
    if (!this.#question) {
      let resolve: (given: boolean) => void = () => undefined;
      const answer = new Promise<boolean>((done) => {
        resolve = done;
      });
      this.#question = { answer, resolve };
      this.#notify();
    }
    return this.#question.answer;
  }

  #answer(given: boolean): void {
    if (!this.#question) return;
    this.#question.resolve(given);
    this.#question = null;
    this.#notify();
  }

  #authorised(request: Request): Request {
    if (this.#token) request.headers.set("Authorization", `Bearer ${this.#token}`);
    if (this.#reauthentication && request.method !== "GET") {
      request.headers.set("Quantis-Reauthentication", this.#reauthentication);
    }
    return request;
  }

  async #refreshOnce(): Promise<boolean> {
    // Tabs share the rotating cookie, so they take turns.
    const locks = globalThis.navigator?.locks;
    return locks ? locks.request(LOCK, () => this.#exchange()) : this.#exchange();
  }

  async #exchange(): Promise<boolean> {
    const response = await post("/v1/oauth/token", { grant_type: "refresh_token", client_id: "web" });
    if (response.ok) {
      this.#store((await response.json()) as Token);
      return true;
    }
    if (response.status >= 500) throw problemOf(await bodyOf(response), response);
    this.#drop();
    return false;
  }

  #store(token: Token): void {
    const early = Math.min(EARLY_SECONDS, token.expires_in / 2);
    const wait = (token.expires_in - early) * 1000;
    this.#token = token.access_token;
    this.#expiresAt = Date.now() + wait;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.refresh().catch(() => undefined), wait);
    this.#setStatus("in");
  }

  #drop(): void {
    clearTimeout(this.#timer);
    this.#token = this.#reauthentication = null;
    this.#answer(false);
    this.#setStatus("out");
  }

  #setStatus(status: SessionStatus): void {
    if (this.#status === status) return;
    this.#status = status;
    this.#notify();
  }

  #notify(): void {
    for (const listener of this.#listeners) listener();
  }
}

function post(path: string, fields: Record<string, string>): Promise<Response> {
  return fetch(new URL(path, location.origin), {
    method: "POST",
    credentials: "same-origin",
    body: new URLSearchParams(fields),
  });
}

async function codeOf(response: Response): Promise<string> {
  return problemOf(await bodyOf(response.clone()), response).code;
}

async function bodyOf(response: Response): Promise<unknown> {
  return response.json().catch(() => null);
}

export const session = new Session();
