import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { Link, useParams } from "react-router";
import { api } from "../../api/client";
import { unwrap } from "../../api/problem";
import { modelVersions } from "../../api/queries";
import type { ModelVersion } from "../../api/types";
import { useMay } from "../../auth/use-session";
import {
  Badge,
  Button,
  ButtonLink,
  Card,
  CopyText,
  LoadingRows,
  Page,
  type Tone,
} from "../../components/basics";
import { Dialog, ProblemView } from "../../components/feedback";
import { familyName, formatFigure, metricName } from "../../lib/format";
import { formatMoment } from "../../lib/time";

const ALIAS_TONES: Record<string, Tone> = { champion: "good", candidate: "accent", challenger: "warn" };

export function Component() {
  const name = useParams().name ?? "";
  const versions = useQuery(modelVersions(name));
  const champion = versions.data?.find((v) => v.aliases.includes("champion"));
  return (
    <Page
      title={name}
      back={{ to: "/models", label: "Models" }}
      intro={
        versions.data &&
        (champion ? `Version ${champion.version} serves as champion.` : "No version serves as champion yet.")
      }
      actions={
        versions.data?.[0]?.dataset && (
          <ButtonLink
            to={`/explorer?dataset=${versions.data[0].dataset}&model=${name}`}
            variant="primary"
            icon="explorer"
          >
            Explore
          </ButtonLink>
        )
      }
    >
      {versions.error && <ProblemView error={versions.error} retry={() => versions.refetch()} />}
      {versions.isPending && (
        <Card flush>
          <LoadingRows />
        </Card>
      )}
      {versions.data?.map((v) => (
        <VersionCard key={v.version} version={v} champion={champion} />
      ))}
    </Page>
  );
}

function VersionCard({
  version: v,
  champion,
}: {
  version: ModelVersion;
  champion: ModelVersion | undefined;
}) {
  const may = useMay("ml_engineer");
  const serving = v.aliases.includes("champion");
  return (
    <Card
      title={
        <span className="version-title">
          Version {v.version}
          {v.aliases.map((alias) => (
            <Badge key={alias} tone={ALIAS_TONES[alias]} icon={alias === "champion" ? "star" : undefined}>
              {alias}
            </Badge>
          ))}
        </span>
      }
      actions={may && !serving && <Promote version={v} champion={champion} />}
    >
      <div className="columns">
        <dl className="facts">
          <dt>Family</dt>
          <dd>{familyName(v.family)}</dd>
          <dt>Horizon</dt>
          <dd>
            {v.h} steps of <code>{v.freq}</code>
          </dd>
          <dt>Trained</dt>
          <dd>{formatMoment(v.created_at)}</dd>
          {v.experiment && (
            <>
              <dt>Experiment</dt>
              <dd>
                <Link to={`/experiments/${v.experiment}`}>Leaderboard</Link> ·{" "}
                <Link to={`/jobs/${v.experiment}`}>Job</Link>
              </dd>
            </>
          )}
        </dl>
        <dl className="facts">
          <dt>Dataset</dt>
          <dd>
            {v.dataset ? (
              <>
                <Link to={`/datasets/${v.dataset}`}>{v.dataset}</Link> v{v.dataset_version}
              </>
            ) : (
              "–"
            )}
          </dd>
          <dt>Content hash</dt>
          <dd>
            {v.content_hash ? (
              <CopyText
                text={v.content_hash}
                short={v.content_hash.slice(0, 16)}
                label="Copy the content hash"
              />
            ) : (
              "–"
            )}
          </dd>
          {typeof v.gate.reason === "string" && (
            <>
              <dt>Gate</dt>
              <dd>{v.gate.reason}</dd>
            </>
          )}
        </dl>
      </div>
      <dl className="tiles apart">
        {Object.entries(v.metrics).map(([name, value]) => (
          <div key={name}>
            <dt>{metricName(name)}</dt>
            <dd>{formatFigure(name, value)}</dd>
          </div>
        ))}
      </dl>
    </Card>
  );
}

function Promote({ version: v, champion }: { version: ModelVersion; champion: ModelVersion | undefined }) {
  const client = useQueryClient();
  const [asking, setAsking] = useState(false);
  const promote = useMutation({
    mutationFn: () => {
      const path = { name: v.model, alias: "champion" as const };
      return unwrap(
        api.PUT("/v1/models/{name}/aliases/{alias}", { params: { path }, body: { version: v.version } }),
      );
    },
    onSuccess: async () => {
      await client.invalidateQueries({ queryKey: ["models"] });
      setAsking(false);
    },
  });
  const close = () => {
    setAsking(false);
    promote.reset();
  };
  const verb = champion && champion.version > v.version ? "Roll back to" : "Promote";
  return (
    <>
      <Button small onClick={() => setAsking(true)}>
        {champion && champion.version > v.version ? "Roll back to this" : "Promote to champion"}
      </Button>
      <Dialog title={`${verb} version ${v.version}?`} open={asking} onClose={close}>
        <p>
          {champion
            ? `${v.model} is served by version ${champion.version} now. Requests will be answered by version ${v.version} instead.`
            : `Requests to ${v.model} will be answered by version ${v.version}.`}{" "}
          The gate checks first that it beats seasonal naive.
        </p>
        {promote.error && <ProblemView error={promote.error} />}
        <footer>
          <Button onClick={close}>Cancel</Button>
          <Button variant="primary" disabled={promote.isPending} onClick={() => promote.mutate()}>
            {promote.isPending ? "Asking the gate…" : `${verb} version ${v.version}`}
          </Button>
        </footer>
      </Dialog>
    </>
  );
}
