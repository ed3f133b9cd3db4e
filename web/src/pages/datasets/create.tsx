import { useMutation, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { useNavigate } from "react-router";
import { api, checkFile, uploadFile } from "../../api/client";
import { asProblem, unwrap } from "../../api/problem";
import type { CheckReport, DatasetSpec } from "../../api/types";
import { Button, Card, Page } from "../../components/basics";
import { ProblemView } from "../../components/feedback";
import { type ColumnChoice, guessRoles, nameFromFile, rolesOf } from "../../lib/roles";
import { toIsoDuration } from "../../lib/time";
import { DatasetFields } from "./dataset-fields";
import { DropZone } from "./drop-zone";
import { Findings, Outcome } from "./findings";
import { RoleForm } from "./role-form";

/** New dataset on one page: file, findings, declaration, upload. */
export function Component() {
  const [file, setFile] = useState<File | null>(null);
  const [choices, setChoices] = useState<ColumnChoice[]>([]);
  const check = useMutation({
    mutationFn: (chosen: File) => checkFile(nameFromFile(chosen.name), chosen),
    onSuccess: (report) => setChoices(guessRoles(report)),
  });
  const choose = (chosen: File) => {
    setFile(chosen);
    check.mutate(chosen);
  };
  const report = check.data;
  return (
    <Page
      title="New dataset"
      intro="The file is checked before anything is stored. Then you declare, once, what each column is."
      back={{ to: "/datasets", label: "Datasets" }}
    >
      <Card title="1. The file">
        <DropZone file={file} busy={check.isPending} onFile={choose} />
      </Card>
      {check.error && <ProblemView error={check.error} />}
      {report && (
        <>
          <Outcome report={report} />
          <Card title="2. Findings" flush>
            <Findings findings={report.findings} />
          </Card>
          {(report.outcome !== "reject" || needsFrequency(report)) && file && (
            <Declaration
              key={file.name}
              file={file}
              report={report}
              choices={choices}
              onChoices={setChoices}
            />
          )}
        </>
      )}
    </Page>
  );
}

/** Tell whether the only fault is that no step repeats: the frequency can then be declared. */
export function needsFrequency(report: CheckReport): boolean {
  const errors = report.findings.filter((f) => f.severity === "error");
  return errors.length > 0 && errors.every((f) => f.code === "D040");
}

interface DeclarationProps {
  file: File;
  report: CheckReport;
  choices: ColumnChoice[];
  onChoices: (choices: ColumnChoice[]) => void;
}

function Declaration({ file, report, choices, onChoices }: DeclarationProps) {
  const client = useQueryClient();
  const navigate = useNavigate();
  const [created, setCreated] = useState<string | null>(null);
  const create = useMutation({
    mutationFn: async (spec: DatasetSpec) => {
      if (created !== spec.name) await unwrap(api.POST("/v1/datasets", { body: spec }));
      setCreated(spec.name);
      return uploadFile(spec.name, file);
    },
    onSuccess: async (result) => {
      await client.invalidateQueries({ queryKey: ["datasets"] });
      navigate(`/datasets/${result.version.dataset}`);
    },
  });
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    create.mutate(specOf(new FormData(event.currentTarget), choices));
  };
  const findings = create.error ? asProblem(create.error).findings : [];
  return (
    <form className="stack" onSubmit={submit}>
      <Card title="3. What each column is" flush>
        <RoleForm choices={choices} onChange={onChoices} disabled={created !== null} />
      </Card>
      <Card title="4. The dataset">
        <DatasetFields
          name={nameFromFile(file.name)}
          freq={report.freq}
          freqRequired={needsFrequency(report)}
        />
      </Card>
      {create.error && <ProblemView error={create.error} />}
      {findings.length > 0 && (
        <Card flush>
          <Findings findings={findings} />
        </Card>
      )}
      <div className="actions">
        <Button type="submit" variant="primary" icon="upload" disabled={create.isPending}>
          {create.isPending ? "Uploading…" : created ? "Upload again" : "Create and upload"}
        </Button>
      </div>
    </form>
  );
}

function specOf(form: FormData, choices: ColumnChoice[]): DatasetSpec {
  const text = (name: string) => String(form.get(name) ?? "").trim();
  const unit = text("lag-unit") === "days" ? "days" : "hours";
  return {
    name: text("name"),
    description: text("description"),
    freq: text("freq") || null,
    time_zone: text("time-zone") || "UTC",
    holidays: text("holidays") || null,
    publication_lag: toIsoDuration({ count: Number(text("lag")) || 0, unit }),
    roles: rolesOf(choices),
  };
}
