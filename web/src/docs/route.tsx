import { CopyButton } from "../components/copy";
import {
  type Document,
  namedSchemas,
  type Route,
  resolve,
  rulesText,
  type Schema,
  typeText,
} from "./openapi";

/** Card of one route: description, parameters, bodies. */
export function RouteView({ document, route }: { document: Document; route: Route }) {
  const { operation } = route;
  const responses = Object.entries(operation.responses).filter(([status]) => status.startsWith("2"));
  return (
    <article className="card route" id={route.id}>
      <header>
        <span className={`verb ${route.method}`}>{route.method}</span>
        <code>{route.path}</code>
        <CopyButton text={curl(route)} label={`Copy a curl command for ${route.method} ${route.path}`} />
      </header>
      <Prose text={operation.description ?? operation.summary} />
      {operation.parameters && operation.parameters.length > 0 && (
        <Rows
          title="Parameters"
          rows={operation.parameters.map((p) => ({
            name: p.name,
            note: p.in,
            required: p.required ?? false,
            schema: { description: p.description, ...p.schema },
          }))}
        />
      )}
      {Object.entries(operation.requestBody?.content ?? {}).map(([media, { schema }]) => (
        <Body key={media} document={document} title="Body" media={media} schema={schema} />
      ))}
      {responses.map(([status, response]) => {
        const [media, content] = Object.entries(response.content ?? {})[0] ?? ["no body", undefined];
        return (
          <Body
            key={status}
            document={document}
            title={`Answer ${status}`}
            media={media}
            schema={content?.schema}
          />
        );
      })}
    </article>
  );
}

/** Sentence of the document, with its backticks as code. */
function Prose({ text }: { text: string | undefined }) {
  if (!text) return null;
  return (
    <p>
      {text.split("`").map((part, i) =>
        // biome-ignore lint/suspicious/noArrayIndexKey: parts of a fixed text
        i % 2 ? <code key={i}>{part}</code> : part,
      )}
    </p>
  );
}

interface BodyProps {
  document: Document;
  title: string;
  media: string;
  schema: Schema | undefined;
}

function Body({ document, title, media, schema }: BodyProps) {
  const named = schema ? namedSchemas(document, schema) : [];
  const properties = schema && !schema.$ref ? schema.properties : undefined;
  return (
    <details>
      <summary>
        <b>{title}</b> <code>{schema ? typeText(schema) : ""}</code> <span className="muted">{media}</span>
      </summary>
      {properties && <Rows rows={rowsOf(document, schema as Schema)} />}
      {named.map(([name, part]) => (
        <Rows
          key={name}
          title={name}
          note={part.description}
          rows={rowsOf(document, part)}
          values={part.enum}
        />
      ))}
    </details>
  );
}

interface Row {
  name: string;
  note?: string;
  required: boolean;
  schema: Schema;
}

function rowsOf(document: Document, schema: Schema): Row[] {
  return Object.entries(resolve(document, schema).properties ?? {}).map(([name, property]) => ({
    name,
    required: schema.required?.includes(name) ?? false,
    schema: property,
  }));
}

interface RowsProps {
  title?: string;
  note?: string;
  rows: Row[];
  values?: unknown[];
}

function Rows({ title, note, rows, values }: RowsProps) {
  return (
    <div className="rows">
      {title && <h3>{title}</h3>}
      <Prose text={note} />
      {values && <p className="mono">{values.map(String).join(" | ")}</p>}
      <dl>
        {rows.map(({ name, note, required, schema }) => (
          <div key={name}>
            <dt>
              <code>{name}</code>
              {required && <span className="must" title="required" />}
              {note && <small className="muted">{note}</small>}
            </dt>
            <dd>
              <code>{typeText(schema)}</code> <small className="muted">{rulesText(schema)}</small>
              {schema.default !== undefined && (
                <small className="muted"> default {JSON.stringify(schema.default)}</small>
              )}
              <Prose text={schema.description} />
            </dd>
          </div>
        ))}
      </dl>
    </div>
  );
}

function curl({ method, path, operation }: Route): string {
  const parts = [
    `curl -X ${method.toUpperCase()} "${location.origin}${path}"`,
    '-H "Authorization: Bearer $TOKEN"',
  ];
  const media = Object.keys(operation.requestBody?.content ?? {})[0];
  if (media)
    parts.push(
      `-H "Content-Type: ${media}"`,
      media.includes("json") ? "-d @body.json" : "--data-binary @FILE",
    );
  return parts.join(" \\\n  ");
}
