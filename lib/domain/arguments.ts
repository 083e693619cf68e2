import type { Milliseconds, Seconds } from '../time.ts'
import type {
  ClaimOptions, IssueOptions, RevocationEvents, SubjectOptions, TokensOptions
} from '../types.ts'
import { isJti, isName, subOf } from './claims.ts'

/* The arguments of the decorator's methods. A check throws a TypeError that names the method. */

const MAX_META_BYTES = 4096
const MAX_PAGE = 1000
const OR_REQUEST = 'or a request of a scope that the plugin guards'

const EVENTS: Record<keyof RevocationEvents, true> = { revoked: true, storeLost: true, storeBack: true }

/** @param what what the argument is to the method, with an example */
export function checkObject (method: string, what: 'claims' | 'options', example: string, given: unknown) {
  if (typeof given === 'object' && given !== null && !Array.isArray(given)) return
  throw new TypeError(`${method}() takes as ${what} an object, such as ${example}`)
}

export function checkListener (method: string, event: unknown, listener: unknown) {
  if (typeof event === 'string' && Object.hasOwn(EVENTS, event) && typeof listener === 'function') return
  const events = Object.keys(EVENTS).join(', ')
  throw new TypeError(`${method}() takes an event, ${events}, and a listener, a function`)
}

/** The name that `given` means. `what`: a sub, a sid or a value. */
export function checkName (method: string, what: string, given: unknown): string {
  const name = subOf(given)
  if (name && isName(name)) return name
  const request = ['revokeSubject', 'revokeSession'].includes(method) ? `, ${OR_REQUEST}` : ''
  throw new TypeError(`${method}() needs a ${what}: a well-formed string of 1 to 1024 characters, ` +
    `or a safe integer${request}`)
}

/** `listed`: option `revocableBy`. */
export function checkListed (method: string, claim: unknown, listed: readonly string[]): string {
  if (typeof claim === 'string' && listed.includes(claim)) return claim
  const claims = listed.length > 0 ? `one of ${listed.join(', ')}` : 'and there is none'
  throw new TypeError(`${method}() takes a claim of option "revocableBy", ${claims}`)
}

/**
 * The names of a token, and when it ends. An `iat` shows that these are the claims of one, whose jti is in
 * `jtiClaim`.
 */
export function checkTarget (
  method: string, given: unknown, jtiClaim: string
): { jti: string, iss?: string, exp?: number, iat?: unknown } {
  const names = (given ?? {}) as Record<string, unknown>
  const { iss, exp, iat } = names
  const jti = names[iat === undefined ? 'jti' : jtiClaim]
  if (!isJti(jti)) {
    throw new TypeError(`${method}() needs a jti: a well-formed string of 1 to 255 characters, ${OR_REQUEST}`)
  }
  checkIssuer(method, iss)
  if (exp !== undefined && !Number.isFinite(exp)) {
    throw new TypeError(`${method}() takes as exp a number of seconds since the epoch`)
  }
  return { jti, iss: iss as string, exp: exp as number, iat }
}

export function checkIssueOptions (options: IssueOptions) {
  checkObject('issue', 'options', '{ expiresIn }', options)
  if (options.refresh === undefined || typeof options.refresh === 'boolean') return
  throw new TypeError('issue() takes as refresh true or false')
}

/** Gives until when tokens are to be refused, if the options say so. */
export function checkSubjectOptions (
  method: string, options: SubjectOptions, now: Milliseconds
): Seconds | undefined {
  checkObject(method, 'options', '{ iss, except, until }', options)
  const { except, until } = options
  if (except !== undefined && typeof except !== 'string') {
    throw new TypeError(`${method}() takes as except the jti of a token`)
  }
  if (except !== undefined && until !== undefined) {
    throw new TypeError(`${method}() takes except or until, not both: a ban spares no token`)
  }
  return checkUntil(method, until, now)
}

export function checkClaimOptions (
  method: string, options: ClaimOptions, now: Milliseconds
): Seconds | undefined {
  checkObject(method, 'options', '{ iss, until }', options)
  return checkUntil(method, options.until, now)
}

function checkUntil (method: string, until: unknown, now: Milliseconds): Seconds | undefined {
  if (until === undefined) return undefined
  const seconds = until instanceof Date ? until.getTime() / 1000 : until
  if (typeof seconds === 'number' && seconds >= Math.floor(now / 1000)) return seconds
  throw new TypeError(`${method}() takes as until a Date, seconds since the epoch or Infinity, ` +
    'and none in the past')
}

export function checkPage (method: string, options: TokensOptions) {
  checkObject(method, 'options', '{ iss, limit, cursor }', options)
  const { limit = 1, cursor } = options
  if (cursor !== undefined) checkId(method, cursor)
  if (Number.isInteger(limit) && limit >= 1 && limit <= MAX_PAGE) return
  throw new TypeError(`${method}() takes as limit a whole number from 1 to ${MAX_PAGE}`)
}

export function checkId (method: string, id: unknown) {
  if (typeof id !== 'string') throw new TypeError(`${method}() needs the id of a record, a string`)
}

export function checkIssuer (method: string, iss: unknown) {
  if (iss === undefined || isName(iss)) return
  throw new TypeError(`${method}() takes as iss a well-formed string of at most 1024 characters`)
}

/** `meta` as JSON gives it back, so that every store gives back the same. */
export function checkMeta (meta: Record<string, unknown>): Record<string, unknown> {
  const isObject = typeof meta === 'object' && meta !== null && !Array.isArray(meta)
  const json = isObject ? JSON.stringify(meta) : undefined
  if (json === undefined || Buffer.byteLength(json) > MAX_META_BYTES) {
    throw new TypeError(`meta must be an object of at most ${MAX_META_BYTES} bytes as JSON`)
  }
  return JSON.parse(json)
}
