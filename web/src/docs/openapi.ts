/** Parts of an OpenAPI 3.1 document that the reference shows. */

export interface Schema {
  $ref?: string;
  type?: string | string[];
  format?: string;
  title?: string;
  description?: string;
  enum?: unknown[];
  const?: unknown;
  default?: unknown;
  anyOf?: Schema[];
  oneOf?: Schema[];
  allOf?: Schema[];
  items?: Schema;
  prefixItems?: Schema[];
  properties?: Record<string, Schema>;
  required?: string[];
  additionalProperties?: Schema | boolean;
  minimum?: number;
  maximum?: number;
  exclusiveMinimum?: number;
  exclusiveMaximum?: number;
  minLength?: number;
  maxLength?: number;
  pattern?: string;
}

interface Content {
  schema?: Schema;
}

export interface Operation {
  summary?: string;
  description?: string;
  tags?: string[];
  parameters?: { name: string; in: string; required?: boolean; description?: string; schema?: Schema }[];
  requestBody?: { required?: boolean; content: Record<string, Content> };
  responses: Record<string, { description: string; content?: Record<string, Content> }>;
}

export interface Document {
  info: { title: string; version: string; description?: string };
  paths: Record<string, Record<string, Operation>>;
  components?: { schemas?: Record<string, Schema> };
}

export interface Route {
  id: string;
  method: string;
  path: string;
  operation: Operation;
}

const METHODS = ["get", "post", "put", "patch", "delete"];

/** Group routes by their first tag, in the document's order. */
export function routesByTag(document: Document): Map<string, Route[]> {
  const groups = new Map<string, Route[]>();
  for (const [path, item] of Object.entries(document.paths)) {
    for (const method of METHODS) {
      const operation = item[method];
      if (!operation) continue;
      const tag = operation.tags?.[0] ?? "other";
      const id = `${method}-${path.replace(/[^\w]+/g, "-").replace(/^-|-$/g, "")}`;
      groups.set(tag, [...(groups.get(tag) ?? []), { id, method, path, operation }]);
    }
  }
  return groups;
}

const nameOf = (ref: string) => ref.split("/").pop() ?? ref;

/** Return the schema that a reference names, or the schema itself. */
export function resolve(document: Document, schema: Schema): Schema {
  const target = schema.$ref && document.components?.schemas?.[nameOf(schema.$ref)];
  return target || schema;
}

/** Describe a type: `Roles`, `string | null`, `list of float`. */
export function typeText(schema: Schema): string {
  if (schema.$ref) return nameOf(schema.$ref);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  const options = schema.anyOf ?? schema.oneOf ?? schema.allOf;
  if (options) return [...new Set(options.map(typeText))].join(" | ");
  if (schema.type === "array") return `list of ${schema.items ? typeText(schema.items) : "anything"}`;
  if (schema.type === "object") {
    const values = schema.additionalProperties;
    return typeof values === "object" ? `map of ${typeText(values)}` : "object";
  }
  const types = Array.isArray(schema.type) ? schema.type : [schema.type ?? "anything"];
  return schema.format ? `${types.join(" | ")} (${schema.format})` : types.join(" | ");
}

/** Describe the bounds of a value, such as `1 to 500`. */
export function rulesText(schema: Schema): string {
  const parts = [schema, ...(schema.anyOf ?? [])].flatMap((part) => {
    const low = part.minimum ?? part.minLength;
    const high = part.maximum ?? part.maxLength;
    const unit = part.minLength !== undefined || part.maxLength !== undefined ? " characters" : "";
    return [
      low !== undefined && high !== undefined ? `${low} to ${high}${unit}` : "",
      low !== undefined && high === undefined ? `at least ${low}${unit}` : "",
      low === undefined && high !== undefined ? `at most ${high}${unit}` : "",
      part.exclusiveMinimum !== undefined ? `above ${part.exclusiveMinimum}` : "",
      part.exclusiveMaximum !== undefined ? `below ${part.exclusiveMaximum}` : "",
      part.pattern ? `matches ${part.pattern}` : "",
    ].filter(Boolean);
  });
  return [...new Set(parts)].join(", ");
}

/** List every named schema that a schema refers to, itself first, each once. */
export function namedSchemas(document: Document, schema: Schema): [string, Schema][] {
  const named = new Map<string, Schema>();
  const visit = (part: Schema | undefined) => {
    if (!part) return;
    if (part.$ref) {
      const name = nameOf(part.$ref);
      if (named.has(name)) return;
      const target = resolve(document, part);
      named.set(name, target);
      visit(target);
      return;
    }
    for (const option of [...(part.anyOf ?? []), ...(part.oneOf ?? []), ...(part.allOf ?? [])]) visit(option);
    visit(part.items);
    for (const property of Object.values(part.properties ?? {})) visit(property);
    if (typeof part.additionalProperties === "object") visit(part.additionalProperties);
  };
  visit(schema);
  return [...named];
}
