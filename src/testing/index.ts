/**
 * What an application needs to test its own use of images: no disk, no network, no hashing.
 *
 * @since 0.1.0
 */
export * as MemoryFileSystem from "./MemoryFileSystem.js"
export * as StubHasher from "./StubHasher.js"
export * as StubHttpClient from "./StubHttpClient.js"
