import { assert, describe, it } from "@effect/vitest"
import * as Either from "effect/Either"
import * as ParseResult from "effect/ParseResult"
import * as Schema from "effect/Schema"
import { parseProblems } from "../../src/internal/parseProblems.js"

const problems = <A, I>(schema: Schema.Schema<A, I>, input: unknown, path: ReadonlyArray<PropertyKey> = []) =>
  Either.match(ParseResult.decodeUnknownEither(schema, { errors: "all", onExcessProperty: "error" })(input), {
    onLeft: (issue) => parseProblems(issue, path).map((problem) => `${problem.path}: ${problem.message}`),
    onRight: () => []
  })

const Port = Schema.Int.pipe(Schema.between(1, 65535)).annotations({ message: () => "must be a port" })
const Server = Schema.Struct({ host: Schema.String, port: Port, tags: Schema.optional(Schema.Array(Schema.String)) })

describe("parseProblems", () => {
  it("finds every problem, with paths through records, arrays and odd keys", () => {
    const input = { a: { host: 5, port: 0 }, "b c": { host: "h", port: 1, tags: ["x", 5, null] }, "": null, d: {} }
    assert.deepStrictEqual(problems(Schema.Record({ key: Schema.String, value: Server }), input), [
      "a.host: must be a string, got a number",
      "a.port: must be a port",
      '["b c"].tags[1]: must be a string, got a number',
      '["b c"].tags[2]: must be a string, got null',
      '[""]: must be an object { host, port, tags? }, got null',
      "d.host: is missing",
      "d.port: is missing"
    ])
  })

  it("names the kind of what it found", () => {
    const kinds = [null, undefined, 5, true, 5n, Symbol("s"), [], {}, () => 1, new Date(0)]
    assert.deepStrictEqual(
      kinds.map((value) => problems(Schema.String, value)[0]?.replace(": must be a string, got ", "")),
      [
        "null",
        "undefined",
        "a number",
        "a boolean",
        "a bigint",
        "a symbol",
        "an array",
        "an object",
        "a function",
        "an object"
      ]
    )
  })

  it("names an unknown key and those that are known, at its own level", () => {
    assert.deepStrictEqual(problems(Schema.Struct({ x: Server }), { x: { host: "h", port: 1, prot: 2 }, y: 1 }), [
      "y: is not a known key (known: x)",
      "x.prot: is not a known key (known: host, port, tags)"
    ])
  })

  it("puts the path it is given before its own", () => {
    assert.deepStrictEqual(problems(Server, { host: "h" }, ["images", 0]), ["images[0].port: is missing"])
    assert.deepStrictEqual(problems(Schema.String, 1, []), [": must be a string, got a number"])
  })

  it("prefers a schema's own message, except where the input is of another kind altogether", () => {
    assert.deepStrictEqual(problems(Port, 0), [": must be a port"])
    assert.deepStrictEqual(problems(Port, "80"), [": must be a number, got a string"])
    const Branded = Schema.String.annotations({ message: () => ({ message: "must be text", override: true }) })
    assert.deepStrictEqual(problems(Branded, 5), [": must be text"])
  })

  it("of a union it reports the member that the input was meant for", () => {
    const Either_ = Schema.Union(Schema.String, Server, Schema.NonEmptyArray(Server)).annotations({
      message: () => ({ message: "must be a host name or a server", override: true })
    })
    assert.deepStrictEqual(problems(Either_, 5), [": must be a host name or a server"])
    assert.deepStrictEqual(problems(Either_, []), [": must be a host name or a server"])
    assert.deepStrictEqual(problems(Either_, { host: "h", port: 0 }), ["port: must be a port"])
    assert.deepStrictEqual(problems(Either_, [{ host: "h", port: 0 }]), ["[0].port: must be a port"])
  })

  it("never repeats what it found, be it a value or a URL in the place of a key", () => {
    const inputs = [
      "hunter2",
      { host: ["hunter2"], port: "hunter2" },
      { host: { password: "hunter2" }, port: 1 },
      { host: "h", port: 1, "https://u:hunter2@example.test/?hunter2": 1 }
    ]
    for (const input of inputs) {
      const found = problems(Server, input)
      assert.isNotEmpty(found)
      assert.notInclude(found.join(), "hunter2")
    }
  })

  it("cuts a key of any length", () => {
    const [problem = ""] = problems(Server, { host: "h", port: 1, ["k".repeat(100_000)]: 1 })
    assert.isBelow(problem.length, 200)
    assert.include(problem, "is not a known key")
  })
})
