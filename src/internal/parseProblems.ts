import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import type * as ParseResult from "effect/ParseResult"
import * as AST from "effect/SchemaAST"
import { redactText } from "./redact.js"

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
    case "Type": {
      const message = issue.message ?? annotated(issue)
      return [message === undefined ? notA(nameOf(issue.ast), issue.actual, path) : { path: showPath(path), message }]
    }
    case "Refinement":
    case "Transformation":
    case "Composite": {
      const meant = issue._tag === "Composite" ? chosenMember(issue) : undefined
      if (meant !== undefined) return parseProblems(meant, path)
      const message = issue._tag === "Refinement" && issue.kind === "From" ? undefined : annotated(issue)
      if (message !== undefined) return [{ path: showPath(path), message }]
      if (issue._tag !== "Composite") return parseProblems(issue.issue, path)
      return issuesOf(issue).flatMap((inner) => parseProblems(inner, path, keysOf(issue.ast)))
    }
  }
}

/** The problem of a value that is something else altogether. */
export const notA = (wanted: string, actual: unknown, path: ReadonlyArray<PropertyKey> = []): Problem => ({
  path: showPath(path),
  message: `must be ${wanted}, got ${kindOf(actual)}`
})

const issuesOf = (issue: ParseResult.Composite): ReadonlyArray<ParseResult.ParseIssue> =>
  isPath(issue.issues) ? issue.issues : [issue.issues]

/**
 * The member of a union that the input was meant for, when its shape tells: an object that is wrong inside says more
 * than that it is none of the alternatives.
 */
const chosenMember = (union: ParseResult.Composite): ParseResult.ParseIssue | undefined => {
  if (!AST.isUnion(union.ast)) return undefined
  for (const member of issuesOf(union)) {
    if (member._tag !== "Composite") continue
    if (AST.isTypeLiteral(member.ast) || (AST.isTupleType(member.ast) && isFilled(member.actual))) return member
    const chosen = chosenMember(member)
    if (chosen !== undefined) return chosen
  }
  return undefined
}

const isFilled = (value: unknown) => Array.isArray(value) && value.length > 0

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

const keysOf = (ast: AST.AST, optional = ""): ReadonlyArray<string> =>
  AST.isTypeLiteral(ast)
    ? ast.propertySignatures.map(({ isOptional, name }) => `${String(name)}${isOptional ? optional : ""}`)
    : []

/** What a schema wants, in words. */
const nameOf = (ast: AST.AST): string =>
  AST.isStringKeyword(ast)
    ? "a string"
    : AST.isNumberKeyword(ast)
      ? "a number"
      : AST.isTypeLiteral(ast)
        ? `an object { ${keysOf(ast, "?").join(", ")} }`
        : Option.getOrElse(
            Option.orElse(AST.getDescriptionAnnotation(ast), () => AST.getTitleAnnotation(ast)),
            () => String(ast)
          )

const kindOf = (value: unknown): string =>
  value === null || value === undefined
    ? String(value)
    : Array.isArray(value)
      ? "an array"
      : typeof value === "object"
        ? "an object"
        : `a ${typeof value}`

/** The longest part of a path that is shown whole. */
const longestPart = 64

const showPath = (path: ReadonlyArray<PropertyKey>): string =>
  path.reduce<string>((text, part) => {
    if (typeof part === "number") return `${text}[${part}]`
    // A key is input as well: a URL in the place of one may hold a token.
    const shown = redactText(String(part), [])
    const name = shown.length > longestPart ? `${shown.slice(0, longestPart)}...` : shown
    if (!/^[\w$-]+$/.test(name)) return `${text}[${JSON.stringify(name)}]`
    return text === "" ? name : `${text}.${name}`
  }, "")
