import { useQuery } from "@tanstack/react-query";
import { Link, useParams } from "react-router";
import { modelVersions } from "../../api/queries";
import type { ModelVersion } from "../../api/types";
import { useMay } from "../../auth/use-session";
import { Badge, ButtonLink, Card, CopyText, LoadingRows, Page, type Tone } from "../../components/basics";
import { ProblemView } from "../../components/feedback";
import { familyName, formatFigure, metricName } from "../../lib/format";
import { formatMoment } from "../../lib/time";
import { PolicyNote } from "./policy";
import { Promote } from "./promote";
import { TrafficShare } from "./traffic";

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
      {versions.data && <PolicyNote model={name} />}
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
      actions={
        may &&
        !serving && (
          <div className="actions">
            {v.gate.passed === true && champion && <TrafficShare version={v} />}
            <Promote version={v} champion={champion} />
          </div>
        )
      }
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
