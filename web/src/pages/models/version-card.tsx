import { Link } from "react-router";
import { api } from "../../api/client";
import type { ModelVersion } from "../../api/types";
import { useMay } from "../../auth/use-session";
import { Badge, Card, CopyText, Fact, type Tone } from "../../components/basics";
import { Delete } from "../../components/delete";
import { familyName, formatFigure, metricName } from "../../lib/format";
import { formatDateTime } from "../../lib/time";
import { Promote } from "./promote";
import { TrafficShare } from "./traffic";

const ALIAS_TONES: Record<string, Tone> = { champion: "good", candidate: "accent", challenger: "warn" };

interface VersionCardProps {
  version: ModelVersion;
  champion: ModelVersion | undefined;
}

export function VersionCard({ version, champion }: VersionCardProps) {
  return (
    <Card
      title={<VersionTitle version={version} />}
      actions={<VersionActions version={version} champion={champion} />}
    >
      <div className="columns">
        <TrainingFacts version={version} />
        <LineageFacts version={version} />
      </div>
      <dl className="tiles apart">
        {Object.entries(version.metrics).map(([name, value]) => (
          <div key={name}>
            <dt>{metricName(name)}</dt>
            <dd>{formatFigure(name, value)}</dd>
          </div>
        ))}
      </dl>
    </Card>
  );
}

interface VersionProps {
  version: ModelVersion;
}

function VersionTitle({ version: { version, aliases } }: VersionProps) {
  return (
    <span className="version-title">
      Version {version}
      {aliases.map((alias) => (
        <Badge key={alias} tone={ALIAS_TONES[alias]} icon={alias === "champion" ? "star" : undefined}>
          {alias}
        </Badge>
      ))}
    </span>
  );
}

/** Ways to let a version serve, for those who may. */
function VersionActions({ version, champion }: VersionCardProps) {
  const may = useMay("ml_engineer");
  if (!may) return null;
  if (version.aliases.includes("champion")) return <Retire version={version} />;
  return (
    <div className="actions">
      {version.gate.passed === true && champion && <TrafficShare version={version} />}
      <Promote version={version} champion={champion} />
      <DeleteVersion version={version} />
    </div>
  );
}

function Retire({ version: { model, version } }: VersionProps) {
  const path = { name: model, alias: "champion" };
  return (
    <Delete
      title={`${model} v${version}`}
      minimum="ml_engineer"
      run={() => api.DELETE("/v1/models/{name}/aliases/{alias}", { params: { path } })}
      listed={["models"]}
      button="Retire"
      action="Retire it"
    >
      No version of {model} will be its champion: requests for {model} are refused until another one is
      promoted.
    </Delete>
  );
}

function DeleteVersion({ version: { model, version } }: VersionProps) {
  const path = { name: model, version };
  return (
    <Delete
      title={`${model} v${version}`}
      minimum="ml_engineer"
      run={() => api.DELETE("/v1/models/{name}/versions/{version}", { params: { path } })}
      listed={["models"]}
    >
      Version {version} of {model} goes, for good; its number is not given again.
    </Delete>
  );
}

function TrainingFacts({ version }: VersionProps) {
  return (
    <dl className="facts">
      <Fact name="Family">{familyName(version.family)}</Fact>
      <Fact name="Horizon">
        {version.h} steps of <code>{version.freq}</code>
      </Fact>
      <Fact name="Trained">{formatDateTime(version.created_at)}</Fact>
      {version.experiment && (
        <Fact name="Experiment">
          <Link to={`/experiments/${version.experiment}`}>Leaderboard</Link> ·{" "}
          <Link to={`/jobs/${version.experiment}`}>Job</Link>
        </Fact>
      )}
    </dl>
  );
}

function LineageFacts({ version: { dataset, dataset_version, content_hash, gate } }: VersionProps) {
  return (
    <dl className="facts">
      <Fact name="Dataset">
        {dataset ? (
          <>
            <Link to={`/datasets/${dataset}`}>{dataset}</Link> v{dataset_version}
          </>
        ) : (
          "–"
        )}
      </Fact>
      <Fact name="Content hash">
        {content_hash ? (
          <CopyText text={content_hash} short={content_hash.slice(0, 16)} label="Copy the content hash" />
        ) : (
          "–"
        )}
      </Fact>
      {typeof gate.reason === "string" && <Fact name="Gate">{gate.reason}</Fact>}
    </dl>
  );
}
