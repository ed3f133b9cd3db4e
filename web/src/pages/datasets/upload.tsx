import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { useParams } from "react-router";
import { checkFile, uploadFile } from "../../api/client";
import { asProblem } from "../../api/problem";
import { Button, ButtonLink, Card, Page } from "../../components/basics";
import { Notice, ProblemView } from "../../components/feedback";
import { plural } from "../../lib/format";
import { DropZone } from "./drop-zone";
import { Findings, Outcome } from "./findings";

/** Upload of a new version of an existing dataset. */
export function Component() {
  const name = useParams().name ?? "";
  const client = useQueryClient();
  const [file, setFile] = useState<File | null>(null);
  const check = useMutation({ mutationFn: (chosen: File) => checkFile(name, chosen) });
  const upload = useMutation({
    mutationFn: (chosen: File) => uploadFile(name, chosen),
    onSuccess: () => client.invalidateQueries({ queryKey: ["datasets"] }),
  });
  const choose = (chosen: File) => {
    setFile(chosen);
    upload.reset();
    check.mutate(chosen);
  };
  const error = upload.error ?? check.error;
  const rejected = error ? asProblem(error).findings : [];
  const report = check.data;
  return (
    <Page
      title={`Upload to ${name}`}
      intro="The file is checked against the dataset's roles, then becomes its next version."
      back={{ to: `/datasets/${name}`, label: name }}
    >
      <Card>
        <DropZone file={file} busy={check.isPending} onFile={choose} />
      </Card>
      {error && <ProblemView error={error} />}
      {upload.data ? (
        <Notice
          tone="good"
          title={
            upload.data.created
              ? `Version ${upload.data.version.number} is stored`
              : "The same rows were there already"
          }
          action={<ButtonLink to={`/datasets/${name}`}>To the dataset</ButtonLink>}
        >
          <p>
            {upload.data.created
              ? `${plural(upload.data.version.rows, "row")} in ${plural(upload.data.version.series, "series", "series")}.`
              : `Version ${upload.data.version.number} has this content hash; no new version was made.`}
          </p>
        </Notice>
      ) : (
        report && <Outcome report={report} />
      )}
      {(report || rejected.length > 0) && (
        <Card title="Findings" flush>
          <Findings findings={rejected.length > 0 ? rejected : (report?.findings ?? [])} />
        </Card>
      )}
      {report && report.outcome !== "reject" && file && !upload.data && (
        <div className="actions">
          <Button
            variant="primary"
            icon="upload"
            disabled={upload.isPending}
            onClick={() => upload.mutate(file)}
          >
            {upload.isPending ? "Uploading…" : "Upload as the next version"}
          </Button>
        </div>
      )}
    </Page>
  );
}
