import type { VerifyOptions } from './jwt.ts'
import type { Outcome, Verification } from './outcome.ts'

/** A token, and the options by which it is to be verified. */
export interface FoundToken {
  token: unknown
  options: VerifyOptions | undefined
}

/** How many calls of all guards have accepted a token: it tells which was the last. */
let acceptances = 0

/** What the verify calls of one request have in common. */
export class Calls {
  /** The latest verification by the options that `@fastify/jwt` was registered with: calls share this one. */
  verification: Verification | undefined
  /** The Authorization header in which a token was found last, and that token. */
  header: string | undefined
  bearer: string | undefined
  /** The outcome that admitted the request to the plugin's routes. */
  authenticated: Outcome | undefined
  /** What the latest call that set a user has accepted. */
  accepted: FoundToken | undefined
  /** When that was, among the calls of all guards; 0: never. */
  acceptedAt = 0
  /** The number of the latest call. */
  begun = 0
  /** The number of the latest call that set the user, and that user. */
  decided = 0
  user: unknown

  accept (found: FoundToken) {
    this.accepted = found
    this.acceptedAt = ++acceptances
  }
}
