import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import type * as ParseResult from "effect/ParseResult"
import * as AST from "effect/SchemaAST"

/** One thing wrong with an input: where, and what. */
export interface Problem {
  readonly path: string
  readonly message: string
}

/**
 * Every problem of a failed decoding as one flat list. Unlike the formatters of ParseResult it never prints the value it
 * found, only its kind: a registry may hold tokens in URLs and headers.
 */
export const parseProblems = (
  issue: ParseResult.ParseIssue,
  path: ReadonlyArray<PropertyKey> = [],
  known: ReadonlyArray<string> = []
): Array<Problem> => {
  switch (issue._tag) {
    case "Pointer":
      return parseProblems(issue.issue, [...path, ...(isPath(issue.path) ? issue.path : [issue.path])], known)
    case "Missing":
      return [{ path: showPath(path), message: "is missing" }]
    case "Unexpected":
      return [{ path: showPath(path), message: `is not a known key (known: ${known.join(", ")})` }]
    case "Forbidden":
      return [{ path: showPath(path), message: issue.message ?? "is forbidden" }]
    case "Type":
      return [
        {
          path: showPath(path),
          message: issue.message ?? annotated(issue) ?? `expected ${String(issue.ast)}, got ${kindOf(issue.actual)}`
        }
      ]
    case "Refinement":
    case "Transformation":
    case "Composite": {
      const message = issue._tag === "Refinement" && issue.kind === "From" ? undefined : annotated(issue)
      if (message !== undefined) return [{ path: showPath(path), message }]
      if (issue._tag !== "Composite") return parseProblems(issue.issue, path)
      const issues: ReadonlyArray<ParseResult.ParseIssue> = isPath(issue.issues) ? issue.issues : [issue.issues]
      return issues.flatMap((inner) => parseProblems(inner, path, keysOf(issue.ast)))
    }
  }
}

const isPath = <A>(value: A | ReadonlyArray<A>): value is ReadonlyArray<A> => Array.isArray(value)

const annotated = (issue: Exclude<ParseResult.ParseIssue, { readonly _tag: "Pointer" | "Missing" | "Unexpected" }>) =>
  AST.getMessageAnnotation(issue.ast).pipe(
    Option.map((message) => message(issue)),
    Option.flatMap((message) => {
      if (typeof message === "string") return Option.some(message)
      if (Effect.isEffect(message)) return Either.getRight(Effect.runSync(Effect.either(message)))
      return typeof message.message === "string" ? Option.some(message.message) : Option.none()
    }),
    Option.getOrUndefined
  )

const keysOf = (ast: AST.AST): ReadonlyArray<string> =>
  AST.isTypeLiteral(ast) ? ast.propertySignatures.map((signature) => String(signature.name)) : []

const kindOf = (value: unknown): string =>
  value === null || value === undefined
    ? String(value)
    : Array.isArray(value)
      ? "an array"
      : typeof value === "object"
        ? "an object"
        : `a ${typeof value}`

const showPath = (path: ReadonlyArray<PropertyKey>): string =>
  path.reduce<string>(
    (text, part) =>
      typeof part === "number"
        ? `${text}[${part}]`
        : /^[\w$-]+$/.test(String(part))
          ? text === ""
            ? String(part)
            : `${text}.${String(part)}`
          : `${text}[${JSON.stringify(String(part))}]`,
    ""
  )
