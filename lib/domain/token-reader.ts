import { claimsOf, identityOfClaims, selectClaims, subjectOfClaims, type CheckedClaims, type Rules } from './claims.ts'
import { Note } from '../stores/replica/denylist.ts'

/** What a verified token says that counts, and the names under which it may be denied. All requests with it share this. */
export interface ReadToken {
  readonly claims: Readonly<CheckedClaims>
  /** The rule for which the token is not accepted at any time. It may be denied all the same. */
  readonly broken: string | undefined
  readonly identity: string | undefined
  readonly subject: string | undefined
  /** The store's. */
  readonly note: Note
}

interface Remembered extends ReadToken {
  readonly payload: string
}

/** How many payloads are remembered, and how long one may be, so that all of them take a few megabytes. */
const SLOTS = 2 ** 12
const MAX_PAYLOAD = 1024

/**
 * Reads verified tokens. Most requests present one that was here before: what comes of its payload, at any time, is
 * remembered by that payload. No signature is kept, so nothing that somebody could present.
 */
export class TokenReader {
  readonly #rules: Rules
  readonly #remembered = new Array<Remembered | undefined>(SLOTS).fill(undefined)

  constructor (rules: Rules) {
    this.#rules = rules
  }

  read (verifiedToken: string): ReadToken {
    const start = verifiedToken.indexOf('.') + 1
    const end = verifiedToken.lastIndexOf('.')
    const payload = verifiedToken.slice(start, end)
    const slot = slotOf(verifiedToken, end)
    const last = this.#remembered[slot]
    if (last?.payload === payload) return last
    const other = this.#remembered[slot + 1]
    if (other?.payload === payload) return other
    const { claims, broken } = selectClaims(claimsOf(verifiedToken), this.#rules)
    const token = { payload: copied(payload), claims, broken, identity: identityOfClaims(claims), subject: subjectOfClaims(claims), note: new Note() }
    if (payload.length <= MAX_PAYLOAD) {
      this.#remembered[slot + 1] = last
      this.#remembered[slot] = token
    }
    return token
  }
}

/** One of two slots for a token, by the first characters of its signature: nobody chooses those. */
function slotOf (token: string, end: number): number {
  return Math.imul(token.charCodeAt(end + 1) << 14 ^ token.charCodeAt(end + 2) << 7 ^ token.charCodeAt(end + 3), 0x9e3779b1) >>> 20 & -2
}

/** A part of a string keeps the whole of it in memory: here that is the signature as well. */
function copied (payload: string): string {
  return Buffer.from(payload).toString('latin1')
}
