/** What the network does to a connection: an Error with a `code`, as sockets give. */
export class ConnectionError extends Error {
  readonly code: string
  constructor(code: string, message: string) {
    super(`${code}: ${message}`)
    this.name = "Error"
    this.code = code
  }
}
