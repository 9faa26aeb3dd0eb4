import * as Arr from "effect/Array"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Schedule from "effect/Schedule"
import { ValueError } from "../ImageError.js"
import type { Options } from "../ImageManager.js"
import type { Problem } from "./parseProblems.js"
import { defaultRetry } from "./transfer.js"

/** Options that were checked, each of them known, with the defaults in place of what was left out. */
export const resolve = (options: Options) =>
  Effect.gen(function* () {
    const problems = problemsOf(options)
    if (Arr.isNonEmptyReadonlyArray(problems)) {
      const [first] = problems
      return yield* problems.length === 1
        ? new ValueError({ field: first.path, problems: [{ path: "", message: first.message }] })
        : new ValueError({ field: "options", problems })
    }
    return {
      cacheDir: options.cacheDir,
      lowerCacheDirs: options.lowerCacheDirs ?? [],
      lockPatience: options.lockPatience ?? "30 minutes",
      offline: options.offline ?? false,
      verification: options.verification ?? "always",
      retry: options.retry ?? defaultRetry,
      connections: options.connections ?? 4,
      maxRestarts: options.maxRestarts ?? 5,
      maxRetryAfter: options.maxRetryAfter ?? "2 minutes",
      responseTimeout: options.responseTimeout ?? "30 seconds",
      stallWindow: options.stallWindow ?? "30 seconds",
      stallBytes: options.stallBytes ?? 16 * 1024,
      maxSize: options.maxSize ?? 64 * 1024 ** 3
    } as const
  })

const known: Readonly<Record<keyof Options, true>> = {
  cacheDir: true,
  lowerCacheDirs: true,
  lockPatience: true,
  offline: true,
  verification: true,
  retry: true,
  connections: true,
  maxRestarts: true,
  maxRetryAfter: true,
  responseTimeout: true,
  stallWindow: true,
  stallBytes: true,
  maxSize: true
}

/** Callers without a type checker may pass anything, so everything is looked at. */
const problemsOf = (options: unknown): ReadonlyArray<Problem> => {
  if (!Predicate.isRecord(options)) return [{ path: "options", message: "must be an object" }]
  const problem = (path: string, message: string) => ({ path, message })
  const given = (field: string, is: (value: unknown) => boolean, message: string) =>
    options[field] === undefined || is(options[field]) ? [] : [problem(field, message)]
  return [
    ...Object.keys(options).flatMap((field) =>
      given(
        field,
        () => Object.hasOwn(known, field),
        `is not an option (the manager has ${Object.keys(known).join(", ")})`
      )
    ),
    ...(isDirectory(options["cacheDir"]) ? [] : [problem("cacheDir", "must name a directory")]),
    ...given(
      "lowerCacheDirs",
      (dirs) => Array.isArray(dirs) && dirs.every(isDirectory),
      "must be a list of directories"
    ),
    ...["lockPatience", "maxRetryAfter"].flatMap((field) => given(field, isDuration, "must be a duration")),
    ...["responseTimeout", "stallWindow"].flatMap((field) => given(field, isTimeout, notATimeout)),
    ...given(
      "connections",
      (value) => Number.isInteger(value) && Number(value) >= 1,
      "must be a positive whole number"
    ),
    ...["maxRestarts", "stallBytes", "maxSize"].flatMap((field) =>
      given(field, (value) => Predicate.isNumber(value) && value >= 0, "must be zero or a positive number")
    ),
    ...given("retry", Schedule.isSchedule, "must be a Schedule"),
    ...given("verification", (mode) => mode === "always" || mode === "stat", 'must be "always" or "stat"'),
    ...given("offline", Predicate.isBoolean, "must be true or false")
  ]
}

const isDirectory = (value: unknown) => Predicate.isString(value) && value.trim() !== "" && !value.includes("\0")

/** `Duration` takes what is below zero, or no number at all, for zero. */
const isBelowZero = (value: unknown): boolean =>
  Array.isArray(value)
    ? value.some(isBelowZero)
    : Predicate.isString(value)
      ? value.startsWith("-")
      : (Predicate.isNumber(value) || Predicate.isBigInt(value)) && !(value >= 0)

const isDuration = (value: unknown): boolean => Option.isSome(Duration.decodeUnknown(value)) && !isBelowZero(value)

/** A duration in which something can happen. */
export const isTimeout = (value: unknown): boolean =>
  isDuration(value) && Option.exists(Duration.decodeUnknown(value), Duration.greaterThan(Duration.zero))

export const notATimeout = "must be a duration of more than zero"
