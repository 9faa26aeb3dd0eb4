/**
 * The Node.js side: everything an `ImageManager` needs, in one layer.
 *
 * @since 0.1.0
 */
export * as NodeHasher from "./NodeHasher.js"
export * as NodeHost from "./NodeHost.js"
export * as NodeHttpClient from "./NodeHttpClient.js"
export * as NodeImageManager from "./NodeImageManager.js"
