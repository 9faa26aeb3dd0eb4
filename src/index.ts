/**
 * VM images on disk: named, downloaded, SHA-256 verified, cached, ready to boot.
 *
 * @since 0.1.0
 */
export * as AssetUrl from "./AssetUrl.js"
export * as Hasher from "./Hasher.js"
export * as Host from "./Host.js"
export * as ImageError from "./ImageError.js"
export * as ImageManager from "./ImageManager.js"
export * as ImageName from "./ImageName.js"
export * as ImageSource from "./ImageSource.js"
export * as ImageStatus from "./ImageStatus.js"
export * as LocalImage from "./LocalImage.js"
export * as Progress from "./Progress.js"
export * as Registry from "./Registry.js"
export * as Sha256 from "./Sha256.js"
