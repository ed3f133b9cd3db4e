import type { components, paths } from "./schema";

/** Named types of the API, taken from its routes: a renamed field or route fails the type check. */

/** Type of a response: every field is there, with its default if need be. */
export type Complete<T> = T extends readonly (infer Item)[]
  ? Complete<Item>[]
  : T extends object
    ? { [Key in keyof T]-?: Complete<Exclude<T[Key], undefined>> }
    : T;

type ResponseBody<Operation> = Operation extends { responses: infer R }
  ? Complete<{ [S in keyof R]: S extends 200 | 201 | 202 ? JsonOf<R[S]> : never }[keyof R]>
  : never;
type JsonOf<R> = R extends { content: { "application/json": infer T } } ? T : never;
type RequestBody<Operation> = Operation extends { requestBody: { content: { "application/json": infer T } } }
  ? T
  : never;

export type User = ResponseBody<paths["/v1/users/me"]["get"]>;
export type Role = User["role"];
export type NewUser = RequestBody<paths["/v1/users"]["post"]>;
export type UserChange = RequestBody<paths["/v1/users/{user_id}"]["patch"]>;
export type SetupRequest = RequestBody<paths["/v1/setup"]["post"]>;

export type Session = ResponseBody<paths["/v1/users/me/sessions"]["get"]>["items"][number];
export type ApiKey = ResponseBody<paths["/v1/api-keys"]["get"]>["items"][number];
export type Scope = ApiKey["scopes"][number];
export type NewApiKey = RequestBody<paths["/v1/api-keys"]["post"]>;
export type ServiceAccount = ResponseBody<paths["/v1/clients"]["get"]>["items"][number];
export type NewServiceAccount = RequestBody<paths["/v1/clients"]["post"]>;
export type ServiceAccountChange = RequestBody<paths["/v1/clients/{client_id}"]["patch"]>;
export type Team = ResponseBody<paths["/v1/teams"]["get"]>["items"][number];
export type NewTeam = RequestBody<paths["/v1/teams"]["post"]>;
export type Quota = Team["quota"];
export type Usage = ResponseBody<paths["/v1/usage"]["get"]>;
export type AuditEvent = ResponseBody<paths["/v1/audit-events"]["get"]>["items"][number];
export type Approval = ResponseBody<paths["/v1/approvals/{approval_id}"]["get"]>;
export type Policy = ResponseBody<paths["/v1/models/{name}/policy"]["get"]>["policy"];

export type Dataset = ResponseBody<paths["/v1/datasets/{name}"]["get"]>;
export type DatasetSpec = RequestBody<paths["/v1/datasets"]["post"]>;
export type Roles = Dataset["roles"];
export type CheckReport = ResponseBody<paths["/v1/datasets/{name}/check"]["post"]>;
export type Finding = CheckReport["findings"][number];
export type UploadResult = ResponseBody<paths["/v1/datasets/{name}/versions"]["post"]>;
export type DatasetVersion = UploadResult["version"];
export type SeriesPage = ResponseBody<paths["/v1/datasets/{name}/series"]["get"]>;
export type SeriesSummary = SeriesPage["items"][number];
export type Revision = ResponseBody<paths["/v1/datasets/{name}/revisions"]["get"]>["items"][number];
export type StoredSeries = ResponseBody<paths["/v1/datasets/{name}/series/{unique_id}"]["get"]>;

export type JobRequest = RequestBody<paths["/v1/jobs"]["post"]>;
export type Job = ResponseBody<paths["/v1/jobs/{job_id}"]["get"]>;
export type JobState = Job["state"];
export type JobResult = NonNullable<Job["result"]>;
export type TrainResult = Complete<components["schemas"]["TrainResult"]>;
export type TrainSpec = Extract<JobRequest["spec"], { kind?: "train" }>;
export type Family = NonNullable<TrainSpec["families"]>[number];
export type Preset = NonNullable<TrainSpec["preset"]>;
export type TftParams = NonNullable<TrainSpec["tft"]>;

export type Leaderboard = ResponseBody<paths["/v1/experiments/{job_id}/leaderboard"]["get"]>;
export type Backtest = components["schemas"]["Backtest"];
export type LeaderboardRow = Leaderboard["rows"][number];
export type OnlineExperiment = ResponseBody<paths["/v1/experiments-online"]["get"]>["items"][number];
export type Model = ResponseBody<paths["/v1/models"]["get"]>["items"][number];
export type HeadToHead = components["schemas"]["HeadToHead"];
export type ModelVersion = ResponseBody<paths["/v1/models/{name}/versions/{version}"]["get"]>;

export type ForecastRequest = RequestBody<paths["/v1/models/{ref}/forecasts"]["post"]>;
export type Forecast = ResponseBody<paths["/v1/forecasts/{forecast_id}"]["get"]>;
export type SeriesForecast = Forecast["forecasts"][number];
/** Method of the fallback chain that answered. */
export type ForecastMethod = SeriesForecast["method"];

/** One line of a job's event stream. */
export type JobEvent = Complete<components["schemas"]["JobEvent"]>;
